import { afterAll, expect, test } from 'vitest'
import { createTestDatabase } from '../support/database.ts'
import { expectTrueCounters, expectWholeRuns } from '../support/invariants.ts'
import { moveClock } from './support/clock.ts'
import { Cluster, type Server } from './support/cluster.ts'

const database = await createTestDatabase()
const cluster = new Cluster(database.url!)
afterAll(async () => {
  await cluster.close()
  await database.close()
})
const { db } = database

const soon = { timeout: 30_000, interval: 100 }

test('an approval of eight hours outlives two restarts of every process, holds nothing while it waits, and ends by its decision or its time', async () => {
  let servers: Server[] = []
  const api = (method: string, path: string, body?: unknown) => cluster.request(() => servers, method, path, body)
  const restart = async () => {
    expect(await Promise.all(servers.map((server) => server.stop()))).toEqual(servers.map(() => 0))
    servers = [await cluster.start(), await cluster.start()]
    await Promise.all(servers.map((server) => server.ready))
  }
  await restart()
  const steps = [
    { id: 'draft', kind: 'transform', value: { text: 'Your week' } },
    { id: 'ok', kind: 'approval', message: 'Send {{ steps.draft.output.text }}?', timeout: '8h' },
    { id: 'sent', kind: 'transform', value: { $expr: 'steps.ok.output.decision' } },
  ]
  const output = { $expr: 'steps.sent.output' }
  await api('POST', '/api/workflow-recipes', { name: 'Ask', slug: 'ask', steps, output })
  await api('POST', '/api/workflow-recipes', { name: 'Quick', slug: 'quick', steps: [steps[0]] })
  const start = async (recipe: string) =>
    (await api('POST', `/api/workflow-recipes/${recipe}/execute`)).body['id'] as string
  const execution = async (id: string) => (await api('GET', `/api/executions/${id}`)).body
  const status = async (id: string) => (await execution(id))['status']

  const [decided, forgotten] = [await start('ask'), await start('ask')]
  for (const id of [decided, forgotten]) await expect.poll(() => status(id), soon).toBe('waiting')
  const asked = await db.selectFrom('approvals').select(['id', 'run_id', 'created_at', 'expires_at']).execute()
  expect(asked.map(({ created_at, expires_at }) => expires_at!.getTime() - created_at.getTime())).toEqual(
    asked.map(() => 8 * 3_600_000),
  )
  /** The processes have done a pass over all that is due: what is started now has come to its end. */
  const allHavePassed = async () => {
    const ended = await Promise.all([start('quick'), start('quick'), start('quick'), start('quick')])
    for (const id of ended) await expect.poll(() => status(id), soon).toBe('succeeded')
    return ended
  }
  const expectNothingHeld = async () => {
    await allHavePassed()
    const rows = await db
      .selectFrom('runs')
      .select(['state', 'lease_owner', 'lease_until'])
      .where('id', 'in', [decided, forgotten])
      .execute()
    expect(rows).toEqual(rows.map(() => ({ state: 'waiting', lease_owner: null, lease_until: null })))
    expect(await db.selectFrom('run_queue').selectAll().execute()).toEqual([])
    for (const { url } of servers) {
      const metrics = await (await fetch(`${url}/metrics`)).text()
      expect(metrics).toMatch(/^automatos_runs_in_flight(\{.*\})? 0$/m)
    }
  }
  const rowsOf = () => db.selectFrom('runs').selectAll().where('id', 'in', [decided, forgotten]).orderBy('id').execute()

  await expectNothingHeld()
  const untouched = await rowsOf()
  await restart()
  await moveClock(db, 4 * 3_600)
  await expectNothingHeld()
  await restart()
  await moveClock(db, 4 * 3_600 - 60)
  await expectNothingHeld()
  // In eight hours and two restarts nobody has so much as looked at them.
  expect(await rowsOf()).toEqual(untouched)

  const { id } = asked.find((approval) => approval.run_id === decided)!
  expect((await api('POST', `/api/approvals/${id}/decide`, { decision: 'approved' })).status).toBe(200)
  await expect.poll(() => status(decided), soon).toBe('succeeded')
  expect(await execution(decided)).toMatchObject({ output: 'approved' })
  expect(await status(forgotten)).toBe('waiting')

  await moveClock(db, 60)
  await expect.poll(() => status(forgotten), soon).toBe('failed')
  expect(await execution(forgotten)).toMatchObject({ error: { kind: 'expired', step: 'ok' } })
  await expectWholeRuns(
    db,
    (await db.selectFrom('runs').select('id').execute()).map((run) => run.id),
  )
  await expectTrueCounters(db)
})
