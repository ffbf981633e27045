import { sql } from 'kysely'
import { afterAll, expect, test } from 'vitest'
import type { Runtime, ServiceStatus } from '../../../src/context.ts'
import { version } from '../../../src/lib/version.ts'
import { beat } from '../../../src/services/heartbeat/beat.ts'
import {
  getHeartbeatStatus,
  heartbeatService,
  listInstances,
  listServices,
  markInstance,
} from '../../../src/services/heartbeat.service.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

type Health = 'healthy' | 'degraded' | 'unhealthy'
const database = await createTestDatabase()
afterAll(() => database.close())
const { db } = database

/** Another process on the same database, with one part whose state the test sets. */
async function instance(parts: Partial<Runtime> = {}) {
  const ctx = await createServiceContext(database)
  const state = { part: 'healthy' as Health }
  const runtime: Runtime = {
    ...ctx,
    // Its own object, as another process has its own.
    db: db.withPlugin({ transformQuery: ({ node }) => node, transformResult: async ({ result }) => result }),
    probes: { part: async () => ({ status: state.part }) },
    figures: () => ({ host: 'web-1', pid: 4711, uptime_ms: 60_000, memory_bytes: 1e8, event_loop_lag_ms: 2.5 }),
    services: () => [serviceStatus('runs')],
    ...parts,
  }
  return { runtime, state, beat: () => beat(runtime) }
}

const serviceStatus = (name: string, more: Partial<ServiceStatus> = {}): ServiceStatus => ({
  name,
  period_ms: 1000,
  last_tick_at: '2026-01-01T00:00:00.000Z',
  last_duration_ms: 3,
  last_result: 'ok',
  last_done: 1,
  last_error: null,
  lag_ms: 0,
  running_ms: null,
  failures_in_a_row: 0,
  ticks: 1,
  failures: 0,
  troubled: false,
  ...more,
})

/** Forgets what other tests have left and stands at the real time. */
async function afresh(): Promise<void> {
  await database.shiftClock({ seconds: 0 })
  await db.deleteFrom('instances').execute()
  await db.deleteFrom('component_samples').execute()
}
const instances = async () => (await listInstances({ db }, { limit: 200 })).items
const stateOf = async ({ runtime }: { runtime: Runtime }) =>
  (await instances()).find(({ id }) => id === runtime.instance)?.state
const clock = { now: () => new Date(), monotonicMs: () => performance.now() }
const status = () => getHeartbeatStatus({ db, clock })
const componentOf = async (name: string) => (await status()).components.find((component) => component.name === name)!
const availabilityOf = async (name: string) =>
  Object.fromEntries((await componentOf(name)).availability.map(({ window, ...rest }) => [window, rest]))

test('two instances see each other, with what each says of itself', async () => {
  await afresh()
  const [a, b] = [await instance(), await instance({ platform: 'bun', services: () => [] })]
  await a.beat()
  await b.beat()
  const seen = await instances()
  expect(seen.map(({ id }) => id)).toEqual([a.runtime.instance, b.runtime.instance].toSorted())
  const first = seen.find(({ id }) => id === a.runtime.instance)!
  expect(first).toMatchObject({
    runtime: 'node',
    version,
    host: 'web-1',
    pid: 4711,
    state: 'alive',
    period_s: 10,
    load: { runs_in_flight: 0, runs_capacity: 100, event_loop_lag_ms: 2.5, memory_bytes: 1e8 },
    leases_held: 0,
    components: { database: { status: 'healthy' }, schema: { status: 'healthy' }, part: { status: 'healthy' } },
  })
  expect(Date.parse(first.last_beat_at) - Date.parse(first.started_at)).toBe(60_000)
  expect((await status()).instances).toEqual({ alive: 2, draining: 0, stale: 0, stopped: 0 })
})

test('an instance is stale after three beats that did not come, and alive again with the next', async () => {
  await afresh()
  const a = await instance()
  await a.beat()
  await database.shiftClock({ seconds: 29 })
  expect(await stateOf(a)).toBe('alive')
  await database.shiftClock({ seconds: 31 })
  expect(await stateOf(a)).toBe('stale')
  expect((await listInstances({ db }, { limit: 200, state: 'stale' })).items).toHaveLength(1)
  expect((await listInstances({ db }, { limit: 200, state: 'alive' })).items).toEqual([])
  expect(await status()).toMatchObject({ status: null, instances: { alive: 0, stale: 1 } })
  await a.beat()
  expect(await stateOf(a)).toBe('alive')
})

test('staleness goes by the period of the instance: one that beats each minute has three minutes', async () => {
  await afresh()
  const { runtime } = await instance({ platform: 'workers' })
  await beat({ ...runtime, figures: () => ({ ...runtime.figures!() }) })
  const only = async () => (await instances())[0]!
  await database.shiftClock({ seconds: 179 })
  expect(await only()).toMatchObject({ id: 'workers', state: 'alive', period_s: 60 })
  await database.shiftClock({ seconds: 181 })
  expect(await only()).toMatchObject({ id: 'workers', state: 'stale' })
})

test('a shutdown shows as draining and then as stopped, and stopped is no longer counted as silent', async () => {
  await afresh()
  const shutdown = new AbortController()
  const a = await instance({ shutdown: shutdown.signal })
  await a.beat()
  shutdown.abort()
  await markInstance(a.runtime, 'draining')
  expect(await stateOf(a)).toBe('draining')
  await a.beat()
  expect(await stateOf(a)).toBe('draining')
  await markInstance(a.runtime, 'stopped')
  await markInstance(a.runtime, 'draining')
  await database.shiftClock({ seconds: 3600 })
  expect(await stateOf(a)).toBe('stopped')
  expect((await listServices({ db }, { limit: 50 })).items).toEqual([])
})

test('leases are counted by who holds them, for Workers over all dispatchers, and only while they last', async () => {
  await afresh()
  const a = await instance()
  const { runtime: worker } = await instance({ platform: 'workers' })
  await a.beat()
  await beat(worker)
  const ctx = await createServiceContext(database)
  const lease = (owner: string, seconds: number) =>
    sql`insert into runs (id, workspace_id, state, trigger, input, lease_owner, lease_until) values (gen_random_uuid(),
      ${ctx.actor.workspaceId}, 'running', '{}', '{}', ${owner}, app_now() + ${seconds} * interval '1 second')`.execute(
      db,
    )
  for (const owner of [a.runtime.instance, 'workers/d1', 'workers/d1', 'workers/d2']) await lease(owner, 30)
  await lease(a.runtime.instance, -1)
  const held = Object.fromEntries((await instances()).map(({ id, leases_held }) => [id, leases_held]))
  expect(held).toEqual({ [a.runtime.instance]: 1, workers: 3 })
})

test('availability is a share of what was measured, and degraded counts as working', async () => {
  await afresh()
  const a = await instance()
  for (const part of ['healthy', 'healthy', 'degraded', 'unhealthy'] as const) {
    a.state.part = part
    await a.beat()
  }
  expect((await availabilityOf('part'))['1h']).toEqual({
    available_percent: 75,
    measured_percent: expect.closeTo(100 / 12, 2),
    samples: { healthy: 2, degraded: 1, unhealthy: 1 },
  })
})

test('a time without beats is neither up nor down', async () => {
  await afresh()
  const a = await instance()
  await a.beat()
  await database.shiftClock({ seconds: 2 * 3600 })
  expect(await availabilityOf('part')).toMatchObject({
    '1h': { available_percent: null, measured_percent: 0, samples: { healthy: 0, degraded: 0, unhealthy: 0 } },
    '24h': { available_percent: 100, measured_percent: expect.closeTo(100 / 288, 2) },
    '7d': { available_percent: 100, measured_percent: expect.closeTo(100 / 2016, 2) },
  })
  a.state.part = 'unhealthy'
  await a.beat()
  expect(await availabilityOf('part')).toMatchObject({
    '1h': { available_percent: 0 },
    '24h': { available_percent: 50 },
    '7d': { available_percent: 50 },
  })
})

test('what was measured while nothing could be stored is stored afterwards, at its time', async () => {
  await afresh()
  let answers = false
  const time = { ms: 0 }
  const a = await instance({
    clock: { now: () => new Date(), monotonicMs: () => time.ms },
    probes: { database: async () => ({ status: answers ? 'healthy' : 'unhealthy' }) },
  })
  for (let n = 0; n < 60; n++) {
    await expect(a.beat()).rejects.toThrow('The database does not answer')
    time.ms += 10_000
  }
  expect(await instances()).toEqual([])
  answers = true
  await a.beat()
  const rows = await db.selectFrom('component_samples').selectAll().where('component', '=', 'database').execute()
  expect(rows.reduce((sum, row) => sum + row.unhealthy, 0)).toBe(60)
  expect(rows.reduce((sum, row) => sum + row.healthy, 0)).toBe(1)
  // Ten minutes lie in two or three stretches of five, so they were not put down at the moment of writing.
  expect(rows.length).toBeGreaterThanOrEqual(2)
  await a.beat()
  expect((await availabilityOf('database'))['1h']).toMatchObject({ samples: { healthy: 2, unhealthy: 60 } })
})

test('samples of a beat that could not be written come with the next', async () => {
  await afresh()
  const a = await instance()
  await sql`alter table component_samples rename to away`.execute(db)
  await expect(a.beat()).rejects.toThrow()
  await sql`alter table away rename to component_samples`.execute(db)
  expect(await instances()).toEqual([])
  await a.beat()
  expect((await availabilityOf('part'))['1h']).toMatchObject({ samples: { healthy: 2 } })
})

test('a part that one instance of two cannot reach is degraded; without a vital part nothing is well', async () => {
  await afresh()
  const [a, b] = [await instance(), await instance()]
  a.state.part = 'unhealthy'
  await a.beat()
  await b.beat()
  expect(await componentOf('part')).toMatchObject({
    status: 'degraded',
    instances: { healthy: 1, degraded: 0, unhealthy: 1 },
  })
  expect((await status()).status).toBe('degraded')
  a.state.part = 'healthy'
  await a.beat()
  expect((await status()).status).toBe('healthy')
  const blind = await instance({ probes: { schema: async () => ({ status: 'unhealthy' }) } })
  await db.deleteFrom('instances').execute()
  await blind.beat()
  expect((await status()).status).toBe('unhealthy')
})

test('any instance answers for the services of all, page by page, and troubled ones stand out', async () => {
  await afresh()
  const troubled = serviceStatus('schedules', {
    last_result: 'failed',
    last_error: 'Error ECONNREFUSED',
    failures_in_a_row: 4,
    lag_ms: 900,
    troubled: true,
  })
  const a = await instance({ services: () => [serviceStatus('runs'), troubled] })
  const b = await instance({ services: () => [serviceStatus('inbox'), serviceStatus('runs')] })
  await a.beat()
  await b.beat()
  const all = (await listServices({ db }, { limit: 50 })).items
  const names = all.map(({ instance: of, name }) => [of, name])
  expect(names.toSorted()).toEqual(
    [
      [a.runtime.instance, 'runs'],
      [a.runtime.instance, 'schedules'],
      [b.runtime.instance, 'inbox'],
      [b.runtime.instance, 'runs'],
    ].toSorted(),
  )
  expect(all).toContainEqual({
    ...troubled,
    instance: a.runtime.instance,
    instance_state: 'alive',
    measured_at: expect.stringMatching(/Z$/),
  })

  const paged: unknown[] = []
  let cursor: string | null = null
  do {
    const page: Awaited<ReturnType<typeof listServices>> = await listServices(
      { db },
      { limit: 1, ...(cursor === null ? {} : { cursor }) },
    )
    paged.push(...page.items.map(({ instance: of, name }) => [of, name]))
    cursor = page.next_cursor
  } while (cursor !== null)
  expect(paged).toEqual(names)
  await expect(listServices({ db }, { limit: 1, cursor: 'none' })).rejects.toMatchObject({ kind: 'invalid' })

  expect(await status()).toMatchObject({
    status: 'degraded',
    troubled_services: [
      {
        instance: a.runtime.instance,
        name: 'schedules',
        failures_in_a_row: 4,
        last_error: 'Error ECONNREFUSED',
        lag_ms: 900,
        running_ms: null,
      },
    ],
  })
})

test('instances come page by page', async () => {
  await afresh()
  for (let n = 0; n < 3; n++) await (await instance()).beat()
  const first = await listInstances({ db }, { limit: 2 })
  expect(first.items).toHaveLength(2)
  const rest = await listInstances({ db }, { limit: 2, cursor: first.next_cursor! })
  expect(rest.next_cursor).toBeNull()
  expect([...first.items, ...rest.items].map(({ id }) => id)).toEqual((await instances()).map(({ id }) => id))
})

test('on Workers the counts of services go on from pass to pass', async () => {
  await afresh()
  const pass = async (services: ServiceStatus[]) =>
    beat((await instance({ platform: 'workers', services: () => services })).runtime)
  const failed = serviceStatus('recovery', { last_result: 'failed', failures: 1, failures_in_a_row: 1, troubled: true })
  await pass([serviceStatus('recovery')])
  await pass([failed])
  await pass([failed])
  const counts = async () => (await listServices({ db }, { limit: 50 })).items[0]
  expect(await counts()).toMatchObject({ instance: 'workers', ticks: 3, failures: 2, failures_in_a_row: 2 })
  await pass([serviceStatus('recovery')])
  expect(await counts()).toMatchObject({ ticks: 4, failures: 2, failures_in_a_row: 0, troubled: false })
})

test('a pass clears away instances that are silent for a day and samples that no window reaches', async () => {
  await afresh()
  const [dead, a] = [await instance(), await instance()]
  await dead.beat()
  await database.shiftClock({ seconds: 86_401 })
  await a.beat()
  expect((await instances()).map(({ id }) => id)).toEqual([a.runtime.instance])
  const buckets = async () => (await db.selectFrom('component_samples').select('bucket_at').distinct().execute()).length
  expect(await buckets()).toBe(2)
  await database.shiftClock({ seconds: 9 * 86_400 })
  expect(await heartbeatService.tick(a.runtime)).toEqual({ done: 1, more: false })
  expect(await buckets()).toBe(1)
})

test('an instance that was silent for more than a day clears others away, never itself', async () => {
  await afresh()
  const a = await instance()
  await a.beat()
  await database.shiftClock({ seconds: 2 * 86_400 })
  await a.beat()
  expect(await stateOf(a)).toBe('alive')
})
