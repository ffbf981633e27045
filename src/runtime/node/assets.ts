import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Assets } from '../../context.ts'
import { packageRoot } from './package-root.ts'

/** The files we serve, and where their package keeps them. A closed list: no path of a caller reaches the disk. */
export const assetSources: Record<string, { specifier: string; mediaType: string }> = {
  'swagger-ui-bundle.js': { specifier: 'swagger-ui-dist/swagger-ui-bundle.js', mediaType: 'text/javascript' },
  'swagger-ui.css': { specifier: 'swagger-ui-dist/swagger-ui.css', mediaType: 'text/css' },
}

/** Where the build puts copies: the package has them, and not the package that they came from. */
export const builtAssets = join(packageRoot, 'dist/app/assets')

const sourceOf = (name: string, specifier: string) => {
  const built = join(builtAssets, name)
  return existsSync(built) ? built : fileURLToPath(import.meta.resolve(specifier))
}

/** Reads assets from the build or from the installed packages, each once. */
export function createNodeAssets(): Assets {
  const kept = new Map<string, Promise<Uint8Array>>()
  return async (path) => {
    const source = Object.hasOwn(assetSources, path) ? assetSources[path] : undefined
    if (!source) return null
    let reading = kept.get(path)
    if (!reading) {
      reading = readFile(sourceOf(path, source.specifier))
      kept.set(path, reading)
      // A file that could not be read now may be there later.
      reading.catch(() => kept.delete(path))
    }
    return { bytes: await reading, mediaType: source.mediaType }
  }
}
