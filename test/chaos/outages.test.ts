import { Kysely, sql } from 'kysely'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { postgresDialect } from '../../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../../src/runtime/postgres-pool.ts'
import { expectTrueCounters, expectWholeRuns } from '../support/invariants.ts'
import { Cluster, pause, type Server } from './support/cluster.ts'
import { startEffectServer } from './support/effect-server.ts'
import { expectWholeLedger } from './support/ledger.ts'
import { createOwnPostgres, findPostgres } from './support/own-postgres.ts'
import { createOwnRedis, findRedis } from './support/own-redis.ts'
import type { OwnServer } from './support/own-server.ts'

const [bin, redisServer] = [findPostgres(), findRedis()]
const installed = bin !== null && redisServer !== null
if (!installed) console.warn("outages: PostgreSQL's or Redis' own programs are not installed; left out")

const loadedMs = 2_500
const awayMs = 5_000
/** Goes at every connection that there is. */
const cuts = 20
/** Within seconds, also on a machine that has other things to do. */
const soon = { timeout: 20_000, interval: 100 }

describe.skipIf(!installed)('two servers under load', () => {
  let database: OwnServer
  let redis: OwnServer
  let db: Kysely<Database>
  let cluster: Cluster
  let servers: Server[]
  let effects: Awaited<ReturnType<typeof startEffectServer>>

  beforeAll(async () => {
    ;[database, redis] = await Promise.all([createOwnPostgres(bin!), createOwnRedis(redisServer!)])
    effects = await startEffectServer(() => 100 + Math.random() * 400)
    const pool = new PostgresPool({
      connect: (line) => postgres(database.url, { ...line, onnotice: () => {} } as object),
      max: 4,
    })
    db = new Kysely<Database>({ dialect: postgresDialect(pool) })
    cluster = new Cluster(database.url, { REDIS_URL: redis.url })
    servers = [await cluster.start(), await cluster.start()]
    await Promise.all(servers.map((server) => server.ready))
    const recipe = await api('POST', '/api/workflow-recipes', {
      name: 'Two effects',
      slug: 'two-effects',
      steps: [
        { id: 'first', kind: 'http', request: { method: 'POST', url: effects.url, body: { run: '{{ run.id }}' } } },
        { id: 'rest', kind: 'wait', duration: '500ms' },
        { id: 'second', kind: 'http', request: { method: 'POST', url: effects.url, body: { run: '{{ run.id }}' } } },
      ],
    })
    expect(recipe.status).toBe(201)
  })
  afterAll(async () => {
    await cluster?.close()
    await db?.destroy()
    effects?.close()
    await database?.remove()
    await redis?.remove()
  })

  const headers = () => ({ 'x-api-key': cluster.adminKey, 'content-type': 'application/json' })
  const api = (method: string, path: string, body?: unknown) => cluster.request(() => servers, method, path, body)
  /** One request to one server, answered or not. */
  const ask = async (server: Server, path: string, init: RequestInit = {}) => {
    const response = await fetch(`${server.url}${path}`, {
      headers: headers(),
      ...init,
      signal: AbortSignal.timeout(10_000),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: JSON.parse(text) as Record<string, unknown> }
  }

  test('PostgreSQL goes and comes back: 503 meanwhile, all back by itself, every acknowledged run ends once', async () => {
    await api('POST', '/api/workflow-recipes', {
      name: 'Nap',
      slug: 'nap',
      steps: [{ id: 'nap', kind: 'wait', duration: `${loadedMs + awayMs}ms` }],
    })
    await api('POST', '/api/workflow-recipes', {
      name: 'Tick',
      slug: 'tick',
      steps: [{ id: 'at', kind: 'transform', value: '{{ run.slot_at }}' }],
    })
    const ticking = { recipe_id: 'tick', interval: '1s', overlap: 'allow', misfire: { catch_up: 1000 } }
    const schedule = await api('POST', '/api/schedules', ticking)
    expect(schedule.status).toBe(201)

    const load = startLoad()
    const followed = await follow((await api('POST', '/api/workflow-recipes/nap/execute')).body['id'] as string)
    await pause(loadedMs)
    expect(load.refusals).toEqual([])

    await database.stop()
    const stoppedAt = performance.now()
    for (const server of servers) {
      await expect.poll(async () => (await ask(server, '/api/executions')).status, soon).toBe(503)
      const needing: [string, RequestInit?][] = [
        ['/api/executions'],
        ['/api/executions?include=total'],
        [`/api/executions/${crypto.randomUUID()}/events`],
        ['/api/workflow-recipes/two-effects/execute', { method: 'POST', body: '{}' }],
        // A key that is not cached has to be looked up: not even a wrong one is told so.
        ['/api/executions', { headers: { 'x-api-key': `ak_srv_${'0'.repeat(64)}` } }],
      ]
      for (const [path, init] of needing) expectUnavailable(await ask(server, path, init))
      const health = await ask(server, '/health')
      expect(health.status).toBe(503)
      expect(health.body).toMatchObject({ status: 'unhealthy', components: { database: { status: 'unhealthy' } } })
      expect((await ask(server, '/health/ready')).status).toBe(503)
      expect((await ask(server, '/health/live')).status).toBe(200)
      expect((await fetch(`${server.url}/metrics`)).status).toBe(200)
    }
    await pause(awayMs - (performance.now() - stoppedAt))
    const acknowledgedBefore = load.acknowledged.size
    await database.start()
    const startedAt = performance.now()

    for (const server of servers) {
      await expect.poll(async () => (await ask(server, '/health/ready')).status, soon).toBe(200)
    }
    await expect.poll(() => load.acknowledged.size, soon).toBeGreaterThan(acknowledgedBefore + 20)
    const backMs = performance.now() - startedAt
    for (const server of servers) await expect.poll(() => overall(server), soon).toBe('healthy')
    await load.stop()
    await api('POST', `/api/schedules/${schedule.body['id']}/pause`)
    await expect.poll(open, { ...soon, timeout: 60_000 }).toBe(0)

    expect(load.refusals.length).toBeGreaterThan(0)
    for (const refusal of load.refusals) expectUnavailable(refusal)
    await expectEndedOnce(load.acknowledged)
    expect(await followed()).toBe('execution.succeeded')
    const fired = await expectWholeLedger(db, schedule.body['id'] as string)
    expect(fired).toBeGreaterThan(5)
    console.log(
      `outage: PostgreSQL away for ${Math.round(awayMs / 1000)} s; ${load.acknowledged.size} runs acknowledged, ${load.refusals.length} starts ` +
        `refused with 503, ${fired} slots fired; served again ${Math.round(backMs)} ms after its start`,
    )
  })

  test('Redis goes and comes back: limits let everything pass meanwhile, and are shared again by themselves', async () => {
    const load = startLoad()
    expect(await spend(4)).toEqual([200, 200, 200, 200])
    expect(await spend(6)).toEqual([200, 200, 200, 200, 429, 429])
    for (const server of servers) await expect.poll(() => overall(server), soon).toBe('healthy')

    await redis.stop()
    expect(await spend(12)).toEqual(Array.from({ length: 12 }, () => 200))
    for (const server of servers) {
      const health = await ask(server, '/health')
      expect(health.status).toBe(200)
      expect(health.body).toMatchObject({ status: 'degraded', components: { limiter: { status: 'degraded' } } })
      expect((await ask(server, '/health/ready')).status).toBe(200)
    }
    const acknowledgedBefore = load.acknowledged.size
    await expect.poll(() => load.acknowledged.size, soon).toBeGreaterThan(acknowledgedBefore + 20)

    await redis.start()
    const startedAt = performance.now()
    await expect.poll(() => spend(6), soon).toEqual([200, 200, 200, 200, 429, 429])
    const backMs = performance.now() - startedAt
    for (const server of servers) await expect.poll(() => overall(server), soon).toBe('healthy')
    await load.stop()
    await expect.poll(open, { ...soon, timeout: 60_000 }).toBe(0)
    expect(load.refusals).toEqual([])
    await expectEndedOnce(load.acknowledged)
    console.log(`outage: Redis; limits shared again ${Math.round(backMs)} ms after its start`)
  })

  test('connections that are cut again and again under load cost a request at most, and no run', async () => {
    const load = startLoad()
    const followed = await follow((await api('POST', '/api/workflow-recipes/two-effects/execute')).body['id'] as string)
    let cut = 0
    for (let times = 0; times < cuts; times++) {
      const { rows } = await sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'automatos'`.execute(db)
      cut += rows.length
      const before = load.acknowledged.size
      // Each cut hits servers that serve.
      await expect.poll(() => load.acknowledged.size, soon).toBeGreaterThan(before)
    }
    await load.stop()
    await expect.poll(open, { ...soon, timeout: 60_000 }).toBe(0)
    for (const refusal of load.refusals) expectUnavailable(refusal)
    expect(await followed()).toBe('execution.succeeded')
    await expectEndedOnce(load.acknowledged)
    // Both servers had a connection to lose each time.
    expect(cut).toBeGreaterThanOrEqual(2 * cuts)
    console.log(
      `outage: ${cut} connections cut in ${cuts} goes; ${load.acknowledged.size} runs acknowledged, ${load.refusals.length} starts refused with 503`,
    )
  })

  /** Starts runs on both servers, one after the other each, until it is told to stop. */
  function startLoad() {
    const acknowledged = new Set<string>()
    const refusals: Awaited<ReturnType<typeof ask>>[] = []
    let loading = true
    const feed = async (server: Server) => {
      while (loading) {
        const init = { method: 'POST', headers: { ...headers(), 'idempotency-key': crypto.randomUUID() }, body: '{}' }
        // A start that was refused is sent again with its key, as a client should.
        for (;;) {
          const answer = await ask(server, '/api/workflow-recipes/two-effects/execute', init)
          if (answer.status === 202) {
            acknowledged.add(answer.body['id'] as string)
            break
          }
          refusals.push(answer)
          await pause(100)
        }
        await pause(20)
      }
    }
    const feeders = [...servers, ...servers].map(feed)
    const stop = async () => {
      loading = false
      await Promise.all(feeders)
    }
    return { acknowledged, refusals, stop }
  }

  /** So many requests of a new key that may make four a minute, to the servers in turn. */
  async function spend(count: number): Promise<number[]> {
    const made = await api('POST', '/api/api-keys', {
      name: 'Four a minute',
      scopes: ['executions:read'],
      rate_limit: 4,
    })
    expect(made.status).toBe(201)
    const statuses = []
    for (let i = 0; i < count; i++) {
      const init = { headers: { 'x-api-key': made.body['key'] as string } }
      statuses.push((await ask(servers[i % servers.length]!, '/api/executions?limit=1', init)).status)
    }
    return statuses
  }

  const overall = async (server: Server) => (await ask(server, '/health')).body['status']

  function expectUnavailable({ status, headers: answered, body }: Awaited<ReturnType<typeof ask>>) {
    expect({ status, type: body['type'] }).toEqual({ status: 503, type: '/problems/unavailable' })
    expect(answered.get('content-type')).toBe('application/problem+json')
    expect(Number(answered.get('retry-after'))).toBeGreaterThan(0)
  }

  async function open(): Promise<number> {
    const { n } = await db
      .selectFrom('runs')
      .select((eb) => eb.fn.countAll<string>().as('n'))
      .where('finished_at', 'is', null)
      .executeTakeFirstOrThrow()
    return Number(n)
  }

  /** Follows a run's events; the function that comes back gives the type of the last one. */
  async function follow(id: string): Promise<() => Promise<string | undefined>> {
    const response = await fetch(`${servers[0]!.url}/api/executions/${id}/events`, { headers: headers() })
    const text = response.text()
    return async () => [...(await text).matchAll(/^event: (.*)$/gm)].at(-1)?.[1]
  }

  async function expectEndedOnce(acknowledged: Set<string>): Promise<void> {
    const runs = await db.selectFrom('runs').select(['id', 'state', 'recipe_id']).execute()
    expect(runs.filter((run) => run.state !== 'succeeded')).toEqual([])
    const ids = new Set(runs.map((run) => run.id))
    expect([...acknowledged].filter((id) => !ids.has(id))).toEqual([])
    await expectWholeRuns(db, ids)
    await expectTrueCounters(db)
    // Nobody was killed and the leases outlast the outage: nothing was done twice.
    const effectsOf = [...acknowledged].flatMap((id) => [`${id}/1/first/0.0`, `${id}/1/second/0.0`])
    expect(effectsOf.filter((key) => effects.effects.get(key)?.count !== 1)).toEqual([])
  }
})
