import { expect, onTestFinished, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { expectTrueCounters, expectWholeEffects, expectWholeRuns } from '../support/invariants.ts'
import { Cluster, freePort, pause, type Server } from './support/cluster.ts'
import { startEffectServer } from './support/effect-server.ts'
import { KeepAliveClient, textOf } from './support/keep-alive-client.ts'

const senders = 12
const followers = 8
const graceMs = 30_000
const patience = { timeout: 90_000, interval: 250 }

// On Node the soak does this to replicas under mixed load: bench/soak.ts.
test('a rolling restart of two Bun processes under load loses no request, no acknowledged run and no event', async () => {
  const bench = await prepare()
  const { database, client, effectServer } = bench
  const before = Date.now()

  let running = true
  const acknowledged = new Set<string>()
  const statuses = new Map<number, number>()
  const send = async (nth: number) => {
    while (running) {
      // One of three waits for the end of its run, so that slow requests are under way when a process is told to stop.
      const waits = nth % 3 === 0
      const answer = await client.post(
        `/api/workflow-recipes/effects/execute`,
        { input_data: {} },
        { 'idempotency-key': crypto.randomUUID(), ...(waits ? { prefer: 'wait=5' } : {}) },
      )
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
      expect([200, 202], answer.body).toContain(answer.status)
      acknowledged.add((JSON.parse(answer.body) as { id: string }).id)
      await pause(20)
    }
  }
  let resumed = 0
  let followed = 0
  const follow = async () => {
    while (running) {
      const { body } = await client.post(`/api/workflow-recipes/long/execute`, { input_data: {} })
      const { id } = JSON.parse(body) as { id: string }
      acknowledged.add(id)
      const streams = await followToEnd(client, id)
      resumed += streams - 1
      followed++
    }
  }
  const load = Promise.all([
    ...Array.from({ length: senders }, (_, nth) => send(nth)),
    ...Array.from({ length: followers }, follow),
  ])
  // A request that is lost ends the test at once instead of after the last restart.
  const lost = load.then(() => new Promise<never>(() => {}))
  const stops = await Promise.race([bench.restart(), lost])
  running = false
  await load

  const openRuns = async () =>
    (await database.db.selectFrom('runs').select('id').where('finished_at', 'is', null).execute()).length
  await expect.poll(openRuns, patience).toBe(0)
  const runs = await database.db.selectFrom('runs').select(['id', 'state', 'recipe_id']).execute()
  expect(runs.filter((run) => run.state !== 'succeeded')).toEqual([])
  // Every start was answered, so there is no run but those that were acknowledged.
  const ids = runs.map((run) => run.id)
  expect(ids.toSorted()).toEqual([...acknowledged].toSorted())

  await expectWholeRuns(database.db, ids)
  await expectTrueCounters(database.db)
  // Nobody was killed, so nothing was sent twice.
  const expected = runs.flatMap((run) => bench.effectsOf(run.recipe_id!).map((step) => `${run.id}/1/${step}/0.0`))
  expect(expectWholeEffects(effectServer.effects, expected)).toBe(0)
  expect(effectServer.withoutKey()).toBe(0)

  const requests = [...statuses.values()].reduce((sum, n) => sum + n, 0)
  console.log(
    `rolling restart (bun): ${stops.length} restarts in ${Math.round((Date.now() - before) / 100) / 10} s, ${requests} starts ` +
      `(${client.reused} over kept connections, ${client.refused} connections refused, ${client.unaccepted} never accepted), ${runs.length} runs, ` +
      `${followed} followed, ${resumed} times resumed; stopping took ${stops.join(', ')} ms`,
  )
  // Otherwise the restarts have met nothing, and all of the above would prove nothing.
  expect(client.refused).toBeGreaterThan(0)
  expect(client.reused).toBeGreaterThan(requests / 2)
  expect(resumed).toBeGreaterThan(0)
  expect(client.unaccepted).toBeLessThan(5 * stops.length)
  expect(statuses.get(200)).toBeGreaterThan(0)
})

async function prepare() {
  const database: TestDatabase = await createTestDatabase()
  onTestFinished(() => database.close())
  const effectServer = await startEffectServer(() => 20 + Math.random() * 130)
  onTestFinished(() => effectServer.close())
  const cluster = new Cluster(database.url!, { SHUTDOWN_GRACE_S: String(graceMs / 1000) })
  onTestFinished(() => cluster.close())
  const ports = [await freePort(), await freePort()]
  const servers: Server[] = await Promise.all(ports.map((port) => cluster.start({ port, runtime: 'bun' })))
  await Promise.all(servers.map(({ ready }) => ready))
  const client = new KeepAliveClient(() => servers.map(({ url }) => url), cluster.adminKey)
  onTestFinished(() => client.close())

  const effect = (id: string) => ({
    id,
    kind: 'http',
    request: { method: 'POST', url: effectServer.url, body: { run: '{{ run.id }}', step: id } },
  })
  const recipe = async (slug: string, steps: object[]) => {
    const { status, body } = await client.post('/api/workflow-recipes', { name: slug, slug, steps })
    expect(status, body).toBe(201)
    return (JSON.parse(body) as { id: string }).id
  }
  const stepsOf: Record<string, string[]> = {
    [await recipe('effects', [effect('a'), effect('b')])]: ['a', 'b'],
    [await recipe('long', [effect('a'), { id: 'rest', kind: 'wait', duration: '2s' }, effect('b'), effect('c')])]: [
      'a',
      'b',
      'c',
    ],
  }
  return {
    database,
    client,
    effectServer,
    effectsOf: (recipeId: string) => stepsOf[recipeId]!,
    async restart(): Promise<number[]> {
      const stops: number[] = []
      for (const [nth, port] of ports.entries()) {
        const begunMs = performance.now()
        expect(await servers[nth]!.stop()).toBe(0)
        // Answers are cut at the end of the grace alone: this one had nothing left to cut.
        const tookMs = performance.now() - begunMs
        expect(tookMs).toBeLessThan(graceMs - 2_000)
        stops.push(Math.round(tookMs))
        servers[nth] = await cluster.start({ port, runtime: 'bun' })
        await servers[nth].ready
        await pause(500)
      }
      return stops
    },
  }
}

/** Follows a run to its end, across the processes that it takes. Returns how many streams that took. */
async function followToEnd(client: KeepAliveClient, id: string): Promise<number> {
  let last = 0
  for (let streams = 1; ; streams++) {
    const response = await client.open(
      `/api/executions/${id}/events`,
      last > 0 ? { 'last-event-id': String(last) } : {},
    )
    expect(response.statusCode).toBe(200)
    // A stream that breaks instead of ending throws here.
    const text = await textOf(response)
    let ended = false
    for (const [, seq, type] of text.matchAll(/^id: (\d+)\nevent: (\S+)$/gm)) {
      expect(Number(seq), 'events come without a gap').toBe(last + 1)
      last = Number(seq)
      ended = type === 'execution.succeeded'
    }
    if (ended) return streams
  }
}
