import { existsSync } from 'node:fs'

/** The process environment, completed by a `.env` file in the working folder, as Bun does by itself. */
export function readEnvironment(): NodeJS.ProcessEnv {
  if (existsSync('.env')) process.loadEnvFile('.env')
  return process.env
}
