import { randomBytes } from 'node:crypto'
import type { TestProject } from 'vitest/node'
import { openWorkersDatabase } from './database.ts'

declare module 'vitest' {
  interface ProvidedContext {
    workersKeyRing: string
  }
}

export default async function setup(project: TestProject) {
  const database = await openWorkersDatabase()
  // Read where the bindings are made: Hyperdrive then leads to an empty, migrated database.
  process.env['CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_HYPERDRIVE'] = database.url
  project.provide('workersKeyRing', `k1:${randomBytes(32).toString('base64')}`)
  return database.close
}
