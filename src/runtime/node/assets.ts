import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Assets } from '../../context.ts'

/** The files we serve, and where their package keeps them. A closed list: no path of a caller reaches the disk. */
export const assetSources: Record<string, { specifier: string; mediaType: string }> = {
  'swagger-ui-bundle.js': { specifier: 'swagger-ui-dist/swagger-ui-bundle.js', mediaType: 'text/javascript' },
  'swagger-ui.css': { specifier: 'swagger-ui-dist/swagger-ui.css', mediaType: 'text/css' },
}

/** Reads assets from the installed packages, each once. */
export function createNodeAssets(): Assets {
  const kept = new Map<string, Promise<Uint8Array>>()
  return async (path) => {
    const source = Object.hasOwn(assetSources, path) ? assetSources[path] : undefined
    if (!source) return null
    let reading = kept.get(path)
    if (!reading) {
      reading = readFile(fileURLToPath(import.meta.resolve(source.specifier)))
      kept.set(path, reading)
      // A file that could not be read now may be there later.
      reading.catch(() => kept.delete(path))
    }
    return { bytes: await reading, mediaType: source.mediaType }
  }
}
