import { afterAll, expect, test } from 'vitest'
import { createTestDatabase } from '../support/database.ts'
import { expectTrueCounters, expectWholeEffects, expectWholeRuns, unrecordedCalls } from '../support/invariants.ts'
import { expireLeasesOf } from './support/clock.ts'
import { Cluster, pause, type Server } from './support/cluster.ts'
import { startEffectServer } from './support/effect-server.ts'
import { expectWholeLedger } from './support/ledger.ts'

/** Longer than a lease and the look for those that have run out: what the first leave is found by its time. */
const killingMs = 45_000
const inFlight = 200
const stepIds = ['s1', 's2', 's3', 's4', 's5', 's6']

const database = await createTestDatabase()
const effectServer = await startEffectServer(() => 200 + Math.random() * 1_300)
const cluster = new Cluster(database.url!)
afterAll(async () => {
  await cluster.close()
  effectServer.close()
  await database.close()
})
const { db } = database

test('with a process killed every second, no acknowledged run is lost, none doubled, and every slot is accounted for', async () => {
  // Three serve; two more are on their way up, because a start takes longer than the second between two kills.
  let servers: Server[] = await Promise.all(Array.from({ length: 5 }, () => cluster.start()))
  await Promise.all(servers.map((server) => server.ready))
  const api = (method: string, path: string, body?: unknown, headers?: Record<string, string>) =>
    cluster.request(() => servers, method, path, body, headers)

  const recipe = await api('POST', '/api/workflow-recipes', {
    name: 'Six effects',
    slug: 'six-effects',
    steps: stepIds.map((id) => ({
      id,
      kind: 'http',
      request: { method: 'POST', url: effectServer.url, body: { run: '{{ run.id }}', step: id } },
      retry: { max_attempts: 5 },
    })),
  })
  expect(recipe.status).toBe(201)
  const tick = await api('POST', '/api/workflow-recipes', {
    name: 'Tick',
    slug: 'tick',
    steps: [{ id: 'at', kind: 'transform', value: '{{ run.slot_at }}' }],
  })
  expect(tick.status).toBe(201)
  const schedule = await api('POST', '/api/schedules', {
    recipe_id: 'tick',
    interval: '1s',
    overlap: 'allow',
    misfire: { catch_up: 1000 },
  })
  expect(schedule.status).toBe(201)

  const acknowledged = new Set<string>()
  const start = async () => {
    const key = crypto.randomUUID()
    const answer = await api(
      'POST',
      '/api/workflow-recipes/six-effects/execute',
      { input_data: {} },
      { 'idempotency-key': key },
    )
    expect(answer.status).toBe(202)
    acknowledged.add(answer.body['id'] as string)
  }
  const open = async () => {
    const row = await db
      .selectFrom('runs')
      .select((eb) => eb.fn.countAll<string>().as('n'))
      .where('recipe_id', '=', recipe.body['id'] as string)
      .where('finished_at', 'is', null)
      .executeTakeFirstOrThrow()
    return Number(row.n)
  }

  await Promise.all(Array.from({ length: inFlight }, start))
  // Keeps that many in flight for as long as processes are killed.
  let feeding = true
  const feeder = (async () => {
    while (feeding) {
      const missing = inFlight - (await open())
      await Promise.all(Array.from({ length: Math.max(0, Math.min(50, missing)) }, start))
      await pause(100)
    }
  })()

  /** Calls that a killed process had on the way: how often each key may have come once more. */
  const allowed = new Map<string, number>()
  const dead: number[] = []
  const endMs = performance.now() + killingMs
  while (performance.now() < endMs) {
    const nextMs = performance.now() + 1_000
    // The one that has served longest: killing what has not begun to serve would show nothing.
    const victim = servers[0]!
    await victim.ready
    servers = servers.slice(1)
    await victim.kill()
    dead.push(victim.pid)
    servers.push(await cluster.start())
    for (const key of await callsInFlight(victim.pid)) allowed.set(key, (allowed.get(key) ?? 0) + 1)
    await pause(Math.max(0, nextMs - performance.now()))
  }
  feeding = false
  await feeder
  // Those of the last half minute need not be waited for as well.
  for (const pid of dead) await expireLeasesOf(db, pid)
  await Promise.all(servers.map((server) => server.ready))
  await expect.poll(open, { timeout: 180_000, interval: 1_000 }).toBe(0)
  await api('POST', `/api/schedules/${schedule.body['id']}/pause`)

  const runs = await db
    .selectFrom('runs')
    .select(['id', 'state', 'error'])
    .where('recipe_id', '=', recipe.body['id'] as string)
    .execute()
  // Lost, doubled, or in another state than succeeded: none. A start that was never answered may still have made its run.
  expect(runs.filter((run) => run.state !== 'succeeded')).toEqual([])
  const ids = new Set(runs.map((run) => run.id))
  expect([...acknowledged].filter((id) => !ids.has(id))).toEqual([])

  const expected = runs.flatMap((run) => stepIds.map((step) => `${run.id}/1/${step}/0.0`))
  expect(effectServer.withoutKey()).toBe(0)
  const repeats = expectWholeEffects(effectServer.effects, expected, allowed)
  const allowedTotal = [...allowed.values()].reduce((sum, n) => sum + n, 0)
  console.log(
    `chaos: ${runs.length} runs (${acknowledged.size} acknowledged), ${dead.length} kills, ${effectServer.effects.size} effects, ` +
      `${repeats} repeats of ${allowedTotal} calls in flight at the kills`,
  )
  expect(repeats).toBeLessThanOrEqual(allowedTotal)
  // Otherwise the kills have hit nothing, and all of the above would prove nothing.
  expect(allowedTotal).toBeGreaterThan(dead.length)
  await expectWholeRuns(db, ids)
  await expectTrueCounters(db)
  expect(await expectWholeLedger(db, schedule.body['id'] as string)).toBeGreaterThan(30)
})

/** The calls that the dead process may have had on their way. */
async function callsInFlight(pid: number): Promise<string[]> {
  const runs = await db
    .selectFrom('runs')
    .select('id')
    .where('state', '=', 'running')
    .where('lease_owner', 'like', `%-${pid}-%`)
    .where('recipe_id', 'is not', null)
    .execute()
  await effectServer.arrived()
  return unrecordedCalls(
    db,
    runs.map((run) => run.id),
    effectServer.effects.keys(),
  )
}
