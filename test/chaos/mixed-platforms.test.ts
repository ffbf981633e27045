import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { startWrangler, type Wrangler } from '../../src/cli/dev/wrangler.ts'
import { workersInstance } from '../../src/lib/workers-instance.ts'
import { createTestDatabase } from '../support/database.ts'
import { expectTrueCounters, expectWholeEffects, expectWholeRuns, unrecordedCalls } from '../support/invariants.ts'
import { expireLeasesOf } from './support/clock.ts'
import { Cluster, type Server } from './support/cluster.ts'
import { startEffectServer } from './support/effect-server.ts'
import { expectWholeLedger } from './support/ledger.ts'

const runCount = 60
const keyRing = `k1:${randomBytes(32).toString('base64')}`
const database = await createTestDatabase()
const effectServer = await startEffectServer(() => 100 + Math.random() * 400)
const cluster = new Cluster(database.url!, { CREDENTIAL_ENCRYPTION_KEY: keyRing })
const folder = await mkdtemp(join(tmpdir(), 'automatos-mixed-'))
const isolates: Wrangler[] = []
afterAll(async () => {
  await Promise.all(isolates.map((isolate) => isolate.stop()))
  await cluster.close()
  effectServer.close()
  await database.close()
  await rm(folder, { recursive: true, force: true })
})
const { db } = database

const soon = { timeout: 60_000, interval: 100 }

test('two Worker isolates and two Node processes share one database: every run ends once, also those of a process that is killed', async () => {
  // Node's processes bring schema, seeds and key; each isolate has Durable Objects of its own, so dispatchers are there twice.
  let nodes = [await cluster.start(), await cluster.start()]
  isolates.push(...(await Promise.all(['first', 'second'].map(startIsolate))))
  await Promise.all(nodes.map((server) => server.ready))
  const places = (): Pick<Server, 'url'>[] => [...nodes, ...isolates.map(({ address }) => ({ url: address }))]
  const api = (at: number, method: string, path: string, body?: unknown, headers?: Record<string, string>) => {
    const all = places()
    const inTurn = all.map((_, n) => all[(at + n) % all.length]!)
    return cluster.request(() => inTurn, method, path, body, headers)
  }
  const post = (step: string) => ({ method: 'POST', url: effectServer.url, body: { run: '{{ run.id }}', step } })
  const http = (id: string, rest: object = {}) => ({ id, kind: 'http', request: post(id), ...rest })
  const recipes = [
    { name: 'Tick', slug: 'tick', steps: [{ id: 'at', kind: 'transform', value: '{{ run.slot_at }}' }] },
    { name: 'Below', slug: 'below', steps: [http('inner')] },
    {
      name: 'Of all kinds',
      slug: 'of-all-kinds',
      steps: [
        http('first'),
        { id: 'nap', kind: 'wait', duration: '1200ms' },
        {
          id: 'each',
          kind: 'foreach',
          items: ['a', 'b', 'c'],
          as: 'item',
          concurrency: 2,
          steps: [{ id: 'work', kind: 'tool', tool: 'http_request', arguments: post('work') }],
        },
        { id: 'ok', kind: 'approval', message: 'Go on?', timeout: '8h' },
        { id: 'heard', kind: 'wait', event: 'go' },
        { id: 'child', kind: 'recipe', recipe: 'below' },
        http('last', { once: true, on_error: 'continue' }),
      ],
    },
  ]
  for (const recipe of recipes) expect((await api(0, 'POST', '/api/workflow-recipes', recipe)).status).toBe(201)
  const ticking = { recipe_id: 'tick', interval: '1s', overlap: 'allow', misfire: { catch_up: 1000 } }
  const schedule = await api(1, 'POST', '/api/schedules', ticking)
  expect(schedule.status).toBe(201)

  const owners = new Set<string>()
  const allowed = new Map<string, number>()
  const acknowledged: string[] = []
  for (let n = 0; n < runCount; n++) {
    const key = { 'idempotency-key': crypto.randomUUID() }
    const answer = await api(n, 'POST', '/api/workflow-recipes/of-all-kinds/execute', { input_data: {} }, key)
    expect(answer.status).toBe(202)
    acknowledged.push(answer.body['id'] as string)
    if (n === runCount / 2) await loseOne()
    await noteOwners()
  }

  async function loseOne() {
    const [victim, ...others] = nodes
    await expect.poll(async () => (await callsInFlight(victim!.pid)).length, soon).toBeGreaterThan(0)
    nodes = others
    await victim!.kill()
    for (const key of await callsInFlight(victim!.pid)) allowed.set(key, 1)
    await expireLeasesOf(db, victim!.pid)
  }
  async function callsInFlight(pid: number) {
    const held = await db.selectFrom('runs').select('id').where('lease_owner', 'like', `%-${pid}-%`).execute()
    await effectServer.arrived()
    return unrecordedCalls(
      db,
      held.map((run) => run.id),
      effectServer.effects.keys(),
    )
  }
  async function noteOwners() {
    const held = await db.selectFrom('runs').select('lease_owner').where('lease_owner', 'is not', null).execute()
    for (const { lease_owner } of held) owners.add(lease_owner!)
  }

  // Whoever is asked decides and signals, wherever the run is.
  const open = async () => {
    await noteOwners()
    const asked = await db.selectFrom('approvals').select('id').where('state', '=', 'pending').execute()
    const decision = { decision: 'approved' }
    for (const [n, { id }] of asked.entries()) await api(n, 'POST', `/api/approvals/${id}/decide`, decision)
    const waits = await db.selectFrom('event_waits').select('run_id').where('state', '=', 'open').execute()
    for (const [n, { run_id: id }] of waits.entries()) {
      const key = { 'idempotency-key': `go-${id}` }
      await api(n, 'POST', `/api/executions/${id}/signals`, { name: 'go', payload: true }, key)
    }
    const left = await db
      .selectFrom('runs')
      .select('id')
      .where('id', 'in', acknowledged)
      .where('finished_at', 'is', null)
    return (await left.execute()).length
  }
  await expect.poll(open, soon).toBe(0)
  await api(2, 'POST', `/api/schedules/${schedule.body['id']}/pause`)
  const unended = () => db.selectFrom('runs').select('id').where('finished_at', 'is', null).execute()
  await expect.poll(unended, soon).toEqual([])

  const runs = await db.selectFrom('runs').select(['id', 'state', 'parent_run_id', 'schedule_id']).execute()
  expect(runs.filter((run) => run.state !== 'succeeded')).toEqual([])
  const roots = runs.filter((run) => run.parent_run_id === null && run.schedule_id === null).map((run) => run.id)
  expect(roots.toSorted()).toEqual(acknowledged.toSorted())
  const children = runs.filter((run) => run.parent_run_id !== null)
  expect(children.map((run) => run.parent_run_id!).toSorted()).toEqual(acknowledged.toSorted())
  await expectWholeRuns(
    db,
    runs.map((run) => run.id),
  )
  await expectTrueCounters(db)
  expect(await expectWholeLedger(db, schedule.body['id'] as string)).toBeGreaterThan(0)

  const unknown = await db
    .selectFrom('run_steps')
    .select('run_id')
    .where('step_id', '=', 'last')
    .where('status', '=', 'failed')
    .execute()
  const onces = acknowledged.map((id) => `${id}/1/last/0.0`)
  const neverSent = unknown.map(({ run_id }) => `${run_id}/1/last/0.0`).filter((key) => !effectServer.effects.has(key))
  for (const key of onces) allowed.delete(key)
  const expected = [
    ...acknowledged.flatMap((id) =>
      ['first', 'each/0/work', 'each/1/work', 'each/2/work'].map((path) => `${id}/1/${path}/0.0`),
    ),
    ...children.map(({ id }) => `${id}/1/inner/0.0`),
    ...onces.filter((key) => !neverSent.includes(key)),
  ]
  const repeats = expectWholeEffects(effectServer.effects, expected, allowed)

  const onWorkers = [...owners].filter((owner) => owner.startsWith(`${workersInstance}/`)).length
  console.log(
    `mixed: ${runs.length} runs, ${onWorkers} dispatchers and ${owners.size - onWorkers} processes held some; ` +
      `${repeats} repeats of ${allowed.size} calls in flight at the kill, ${unknown.length} outcomes unknown`,
  )
  // Otherwise they have not met.
  expect(onWorkers).toBeGreaterThan(0)
  expect(owners.size - onWorkers).toBe(2)
})

async function startIsolate(name: string): Promise<Wrangler> {
  const variables = join(folder, `${name}.env`)
  const settings = {
    ENVIRONMENT: 'test',
    LOG_LEVEL: 'error',
    CREDENTIAL_ENCRYPTION_KEY: keyRing,
    EGRESS_ALLOW: '127.0.0.1',
    RATE_LIMIT_AUTHENTICATED: '100000/minute',
  }
  await writeFile(
    variables,
    Object.entries(settings)
      .map(([key, value]) => `${key}="${value}"\n`)
      .join(''),
  )
  const databaseUrl = new URL(database.url!)
  // Hyperdrive wants one also where the server asks for none.
  databaseUrl.password ||= 'none'
  return startWrangler({ port: 0, databaseUrl: databaseUrl.href, stateFolder: join(folder, name), variables })
}
