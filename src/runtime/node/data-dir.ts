import { accessSync, constants, mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { StartupError } from './startup-error.ts'

/** Makes DATA_DIR where it is missing, readable by this user alone, and returns its absolute path. */
export function openDataDir(dataDir: string): string {
  const folder = resolve(dataDir)
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK)
    return folder
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const reason =
      code === 'EEXIST' || code === 'ENOTDIR' ? 'it, or a part of its path, is a file' : (code ?? 'unknown')
    throw new StartupError(
      `The data folder ${folder} cannot be used (${reason}). Make it writable for this user, or set DATA_DIR.`,
      error,
      73,
    )
  }
}
