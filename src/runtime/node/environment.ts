import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { StartupError } from './startup-error.ts'

/** The process environment, completed by a `.env` file in the working folder, as Bun does by itself. */
export function readEnvironment(): NodeJS.ProcessEnv {
  if (!existsSync('.env')) return process.env
  try {
    process.loadEnvFile('.env')
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'unknown'
    throw new StartupError(
      `The settings in ${resolve('.env')} cannot be read (${reason}). Make it a file that this user can read, or move it away.`,
      error,
      78,
    )
  }
  return process.env
}
