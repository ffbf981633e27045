import { createClient } from 'redis'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    redisUrl: string
  }
}

/** The `redis` project runs on the server that TEST_REDIS_URL names. */
export default async function setup(project: TestProject) {
  const url = process.env['TEST_REDIS_URL'] ?? 'redis://127.0.0.1:6379'
  const client = createClient({ url, socket: { connectTimeout: 2_000, reconnectStrategy: false } })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.ping()
  } catch (cause) {
    throw new Error(`The redis project needs a Redis at ${url} (TEST_REDIS_URL names another).`, { cause })
  } finally {
    client.destroy()
  }
  project.provide('redisUrl', url)
}
