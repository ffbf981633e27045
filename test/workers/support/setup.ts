import type { TestProject } from 'vitest/node'
import './provided.ts'
import { startS3Server } from '../../support/s3-server.ts'
import { startKeyHost } from '../../support/key-host.ts'
import { openUpstashProxy } from '../../support/upstash-proxy.ts'
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
  const s3 = await startS3Server()
  project.provide('s3Endpoint', s3.endpoint)
  const keys = await startKeyHost()
  project.provide('keyHost', keys.url)
  const upstash = await openUpstash()
  project.provide('upstash', upstash && { url: upstash.url, token: upstash.token })
  return () => Promise.all([installation.close(), engine.close(), s3.stop(), upstash?.close(), keys.server.close()])
}

async function openUpstash() {
  const named = process.env['TEST_REDIS_URL']
  try {
    return await openUpstashProxy(named ?? 'redis://127.0.0.1:6379')
  } catch (error) {
    if (named !== undefined) throw error
    console.log('Redis is not reachable: the suites of Upstash are left out')
    return null
  }
}
