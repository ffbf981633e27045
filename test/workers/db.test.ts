import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import worker from '../../src/index.ts'
import { openRequestDatabase } from '../../src/runtime/workers/database.ts'
import { openWorkerRuntime } from '../../src/runtime/workers/runtime.ts'
import { describeDatabase, statusOf } from '../runtime/db.suite.ts'

describe('port:db adapter:hyperdrive', () => {
  describeDatabase(async () => openRequestDatabase(env.HYPERDRIVE))

  test('its probe is well while the database is, unwell while it is away, and well with the next request', async () => {
    const probed = async (port: number) => {
      const { host, user, password, database } = env.HYPERDRIVE
      const HYPERDRIVE = { host, port, user, password, database } as Hyperdrive
      const { runtime, close } = openWorkerRuntime({ ...env, HYPERDRIVE }, () => {})
      const status = await statusOf(runtime.probes['database']!)
      await close()
      return status
    }
    expect(await probed(env.HYPERDRIVE.port)).toBe('healthy')
    // Nothing listens on the discard port.
    expect(await probed(9)).toBe('unhealthy')
    expect(await probed(env.HYPERDRIVE.port)).toBe('healthy')
  })
})

test('a request that needs a database that is away answers 503 and says when to try again', async () => {
  const { host, user, password, database } = env.HYPERDRIVE
  const HYPERDRIVE = { host, port: 9, user, password, database } as Hyperdrive
  const headers = { 'x-api-key': `ak_srv_${'0'.repeat(64)}` }
  const context = createExecutionContext()
  const request = new Request('http://localhost/api/executions', { headers })
  const response = await worker.fetch(request, { ...env, HYPERDRIVE }, context)
  expect(response.status).toBe(503)
  expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(await response.json()).toMatchObject({ type: '/problems/unavailable' })
  await waitOnExecutionContext(context)
})
