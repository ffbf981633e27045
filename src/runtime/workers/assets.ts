import type { Assets } from '../../context.ts'

/** The static files that were uploaded with the Worker. `run_worker_first` keeps them from being served past it. */
export function createBoundAssets(files: Fetcher): Assets {
  return async (path) => {
    const response = await files.fetch(new URL(path, 'https://assets.invalid/'))
    if (response.status !== 200) {
      await response.body?.cancel()
      return null
    }
    const mediaType = response.headers.get('content-type')?.split(';')[0] ?? 'application/octet-stream'
    return { bytes: new Uint8Array(await response.arrayBuffer()), mediaType }
  }
}
