import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** The folder of the installed product, whether this runs from `src` or from a bundle in `dist`. */
export const packageRoot = findRoot(import.meta.dirname)

function findRoot(folder: string): string {
  if (existsSync(join(folder, 'package.json'))) return folder
  return findRoot(dirname(folder))
}
