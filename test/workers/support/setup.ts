import type { TestProject } from 'vitest/node'
import './provided.ts'
import { openTestInstallation } from './installation.ts'

export default async function setup(project: TestProject) {
  const installation = await openTestInstallation()
  console.log(`Workers tests run on ${installation.label}`)
  // Read where the bindings are made: it is where Hyperdrive leads.
  process.env['CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_HYPERDRIVE'] = installation.databaseUrl
  project.provide('workersKeyRing', installation.keyRing)
  project.provide('workersAdminKey', installation.adminKey)
  const engine = await openTestInstallation()
  project.provide('engineDatabaseUrl', engine.databaseUrl)
  return () => Promise.all([installation.close(), engine.close()])
}
