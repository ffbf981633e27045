import {
  createExecutionContext,
  createScheduledController,
  runInDurableObject,
  waitOnExecutionContext,
} from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { expect, inject, test } from 'vitest'
import worker from '../../src/index.ts'
import { dispatcherOf } from '../../src/runtime/workers/dispatch.ts'
import { openWorkerRuntime } from '../../src/runtime/workers/runtime.ts'
import { sql } from 'kysely'
import { version } from '../../src/lib/version.ts'
import './support/provided.ts'

const get = async (path: string) => {
  const context = createExecutionContext()
  const headers = { 'x-api-key': inject('workersAdminKey') }
  const response = await worker.fetch(new Request(`http://localhost${path}`, { headers }), env, context)
  const body: unknown = await response.json()
  await waitOnExecutionContext(context)
  expect(response.status).toBe(200)
  return body as { items: Record<string, unknown>[] }
}
async function cronMinute(scheduledTime = new Date()) {
  const context = createExecutionContext()
  await worker.scheduled(createScheduledController({ scheduledTime }), env, context)
  await waitOnExecutionContext(context)
}

test('a cron minute beats for all isolates as one instance, and tells how its services fared', async () => {
  await cronMinute()
  const [instance] = (await get('/api/heartbeat/instances')).items
  expect(instance).toMatchObject({
    id: 'workers',
    runtime: 'workers',
    version,
    state: 'alive',
    period_s: 60,
    host: null,
    pid: null,
    load: { runs_in_flight: null, runs_capacity: null, event_loop_lag_ms: null, memory_bytes: null },
    components: { database: { status: 'healthy' }, blobs: { status: 'healthy' }, wake: { status: 'healthy' } },
  })
  const ticksOf = async (name: string) =>
    Number((await get('/api/heartbeat/services')).items.find((item) => item['name'] === name)!['ticks'])
  const before = await ticksOf('schedules')
  await cronMinute(new Date(Date.now() - 5_000))
  expect(await ticksOf('schedules')).toBe(before + 1)
  const services = (await get('/api/heartbeat/services')).items
  expect(services.find(({ name }) => name === 'recovery')).toMatchObject({
    instance: 'workers',
    period_ms: 60_000,
    last_result: 'ok',
    last_duration_ms: expect.any(Number),
    troubled: false,
  })
  expect(Number(services[0]!['lag_ms'])).toBeGreaterThanOrEqual(5_000)
  expect(await get('/api/heartbeat/status')).toMatchObject({ instances: { alive: 1 }, troubled_services: [] })
})

test('a dispatcher that fails shows in the health of the wake-ups once its runs stand in the queue', async () => {
  const { runtime, close } = openWorkerRuntime(env, () => {})
  const { db } = runtime
  const id = crypto.randomUUID()
  const wake = async () =>
    ((await get('/health')) as unknown as { components: Record<string, object> }).components['wake']
  // Of an engine that is newer than any here, so nobody takes it.
  await sql`with run as (
      insert into runs (id, workspace_id, state, trigger, input, engine_version)
      select ${id}::text::uuid, id, 'queued', '{}', '{}', 1000 from workspaces limit 1 returning id, workspace_id
    ) insert into run_queue (run_id, workspace_id) select id, workspace_id from run`.execute(db)
  const stub = env.DISPATCHER.get(env.DISPATCHER.idFromName(`dispatcher-${dispatcherOf(id)}`))
  await runInDurableObject(stub, (_, state) => state.storage.put('failures', 3))
  expect(await wake()).toMatchObject({ status: 'healthy' })
  await sql`update run_queue set ready_at = app_now() - interval '2 minutes' where run_id = ${id}::text::uuid`.execute(
    db,
  )
  expect(await wake()).toMatchObject({
    status: 'degraded',
    detail: 'Of 1 dispatchers whose runs stand in the queue 1 fail; the log has the reason.',
  })
  await sql`delete from runs where id = ${id}::text::uuid`.execute(db)
  await close()
})
