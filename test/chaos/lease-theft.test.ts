import { afterAll, expect, test } from 'vitest'
import { createTestDatabase } from '../support/database.ts'
import { gate } from '../support/engine.ts'
import { expectTrueCounters, expectWholeEffects, expectWholeRuns } from '../support/invariants.ts'
import { expireLeasesOf } from './support/clock.ts'
import { Cluster } from './support/cluster.ts'
import { startEffectServer } from './support/effect-server.ts'

const released = gate()
const slow = /\/slow\//
const database = await createTestDatabase()
/** The first call of a slow effect is answered when the test says so; whoever calls again is answered at once. */
const effectServer = await startEffectServer((key, nth) => (slow.test(key) && nth === 1 ? released.opened : 0))
const cluster = new Cluster(database.url!)
afterAll(async () => {
  released.open()
  await cluster.close()
  effectServer.close()
  await database.close()
})
const { db } = database

const soon = { timeout: 30_000, interval: 50 }
const eachOf = 5

test('a process that was paused in mid-effect, and wakes when others have finished its runs, writes nothing and does nothing more', async () => {
  const owner = await cluster.start()
  await owner.ready
  let servers = [owner]
  const api = (method: string, path: string, body?: unknown) => cluster.request(() => servers, method, path, body)
  const post = (step: string) => ({ method: 'POST', url: effectServer.url, body: { run: '{{ run.id }}', step } })
  const http = (id: string, rest: object = {}) => ({ id, kind: 'http', request: post(id), ...rest })
  const recipes: Record<string, object[]> = {
    'one-after-the-other': [http('before'), http('slow'), http('after')],
    'side-by-side': [
      {
        id: 'each',
        kind: 'foreach',
        items: ['a', 'b', 'c'],
        as: 'item',
        concurrency: 3,
        steps: [{ id: 'slow', kind: 'tool', tool: 'http_request', arguments: post('slow') }, http('after')],
      },
    ],
    'only-once': [http('slow', { once: true, on_error: 'continue' }), http('after')],
  }
  const started: Record<string, string[]> = {}
  for (const [slug, steps] of Object.entries(recipes)) {
    expect((await api('POST', '/api/workflow-recipes', { name: slug, slug, steps })).status).toBe(201)
    const answers = Array.from({ length: eachOf }, () => api('POST', `/api/workflow-recipes/${slug}/execute`))
    started[slug] = (await Promise.all(answers)).map(({ body }) => body['id'] as string)
  }
  const ids = Object.values(started).flat()
  const arrived = () => [...effectServer.effects.keys()].filter((key) => slow.test(`${key}`)).length
  await expect.poll(arrived, soon).toBe(5 * eachOf)

  owner.freeze()
  const thief = await cluster.start()
  servers = [thief]
  expect((await expireLeasesOf(db, owner.pid)).toSorted()).toEqual(ids.toSorted())
  await thief.ready
  const open = () => db.selectFrom('runs').select('id').where('finished_at', 'is', null).execute()
  await expect.poll(open, soon).toEqual([])
  const before = await everything()
  const calls = [...effectServer.effects.values()].reduce((sum, { count }) => sum + count, 0)

  released.open()
  owner.thaw()
  // It gives up what it held, and goes on with what is new.
  await expect.poll(async () => held(await (await fetch(`${owner.url}/metrics`)).text()), soon).toBe(0)
  servers = [owner]
  expect((await api('GET', `/api/executions/${ids[0]}`)).status).toBe(200)
  expect(await owner.stop()).toBe(0)
  expect(await everything()).toEqual(before)
  expect([...effectServer.effects.values()].reduce((sum, { count }) => sum + count, 0)).toBe(calls)

  await expectWholeRuns(db, ids)
  await expectTrueCounters(db)
  const slowKeys = [
    ...started['one-after-the-other']!.map((id) => `${id}/1/slow/0.0`),
    ...started['side-by-side']!.flatMap((id) => [0, 1, 2].map((item) => `${id}/1/each/${item}/slow/0.0`)),
  ]
  const others = [
    ...started['one-after-the-other']!.flatMap((id) => [`${id}/1/before/0.0`, `${id}/1/after/0.0`]),
    ...started['side-by-side']!.flatMap((id) => [0, 1, 2].map((item) => `${id}/1/each/${item}/after/0.0`)),
    ...started['only-once']!.flatMap((id) => [`${id}/1/slow/0.0`, `${id}/1/after/0.0`]),
  ]
  // Each call that was in flight came once more, but for those that are made once.
  const repeats = expectWholeEffects(
    effectServer.effects,
    [...slowKeys, ...others],
    new Map(slowKeys.map((key) => [key, 1])),
  )
  expect(repeats).toBe(slowKeys.length)
  const unknown = await db
    .selectFrom('run_steps')
    .select('run_id')
    .where('step_id', '=', 'slow')
    .where('status', '=', 'failed')
    .execute()
  expect(unknown.map((row) => row.run_id).toSorted()).toEqual(started['only-once']!.toSorted())
})

const held = (metrics: string) => Number(/^automatos_runs_in_flight(?:\{.*\})? (\d+)$/m.exec(metrics)?.[1])

/** All that a late owner could have written to. */
async function everything() {
  return {
    runs: await db.selectFrom('runs').selectAll().orderBy('id').execute(),
    steps: await db.selectFrom('run_steps').selectAll().orderBy('run_id').orderBy('path').execute(),
    calls: await db.selectFrom('run_calls').selectAll().orderBy('run_id').orderBy('key').execute(),
    events: await db.selectFrom('run_events').selectAll().orderBy('run_id').orderBy('seq').execute(),
    queue: await db.selectFrom('run_queue').selectAll().execute(),
  }
}
