import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Assets } from '../../context.ts'
import { packageRoot } from './package-root.ts'

/**
 * The files we serve, and where they come from: a path in this package, or the specifier of another one's file. A closed list:
 * no path of a caller reaches the disk.
 */
export const assetSources: Record<string, { from: string; mediaType: string }> = {
  'swagger-ui-bundle.js': { from: 'swagger-ui-dist/swagger-ui-bundle.js', mediaType: 'text/javascript' },
  'swagger-ui.css': { from: 'swagger-ui-dist/swagger-ui.css', mediaType: 'text/css' },
  'openapi.json': { from: './openapi.json', mediaType: 'application/json' },
}

/** Where the build puts copies: the package has them, and not the package that they came from. */
export const builtAssets = join(packageRoot, 'dist/app/assets')

/** The file that an asset is copied from, in a tree of the sources. */
export const originalOf = (from: string): string =>
  from.startsWith('./') ? join(packageRoot, from) : fileURLToPath(import.meta.resolve(from))

const sourceOf = (name: string, from: string) => {
  const built = join(builtAssets, name)
  return existsSync(built) ? built : originalOf(from)
}

/** Reads assets from the build or from the installed packages, each once. */
export function createNodeAssets(): Assets {
  const kept = new Map<string, Promise<Uint8Array>>()
  return async (path) => {
    const source = Object.hasOwn(assetSources, path) ? assetSources[path] : undefined
    if (!source) return null
    let reading = kept.get(path)
    if (!reading) {
      reading = readFile(sourceOf(path, source.from))
      kept.set(path, reading)
      // A file that could not be read now may be there later.
      reading.catch(() => kept.delete(path))
    }
    return { bytes: await reading, mediaType: source.mediaType }
  }
}
