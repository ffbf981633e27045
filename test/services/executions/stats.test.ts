import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { jsonb } from '../../../src/db/json.ts'
import { engineOf, runsService } from '../../../src/services/runs/index.ts'
import { createTestApp, type Client } from '../../support/app.ts'

const app = await createTestApp()
const { db } = app

interface Stats {
  total: number
  by_status: Record<string, number>
  success_rate: number | null
  duration_ms: Record<string, number | null>
  queue_ms: Record<string, number | null>
  usage: { cost_usd: string | null; executions_of_unknown_cost: number }
  by_recipe: { recipe_id: string; slug: string; total: number; failed: number }[]
  by_trigger: { trigger: string; count: number }[]
  series: { total: number }[]
  now: { ready: number; oldest_ready_ms: number | null; running: number }
}
interface Stuck {
  findings: { kind: string; count: number; executions: { id: string; overdue_ms: number | null }[] }[]
}

async function work(): Promise<void> {
  await runsService.tick(app.runtime)
  await engineOf(app.runtime).idle()
}
async function started(client: Client, name: string, steps: unknown[]): Promise<string> {
  const slug = name.toLowerCase()
  if ((await client.get(`/api/workflow-recipes/${slug}`)).status === 404)
    expect((await client.post('/api/workflow-recipes', { name, slug, steps })).status).toBe(201)
  const run = await client.post(`/api/workflow-recipes/${slug}/execute`, {})
  expect(run.status).toBe(202)
  return ((await run.json()) as { id: string }).id
}
const stats = async (client: Client, query = '') =>
  (await (await client.get(`/api/executions/stats${query}`)).json()) as Stats
const findings = async (client: Client) => {
  const { findings: all } = (await (await client.get('/api/executions/stuck')).json()) as Stuck
  return Object.fromEntries(
    all.filter(({ count }) => count > 0).map(({ kind, executions }) => [kind, executions.map(({ id }) => id)]),
  )
}
const good = [{ id: 'one', kind: 'transform', value: 1 }]
const bad = [{ id: 'one', kind: 'fail', message: 'no' }]
const hour = [{ id: 'wait', kind: 'wait', duration: '1h' }]

test('figures come from the rows, by status, recipe and window, and what was not measured is null', async () => {
  const client = await app.signIn()
  const empty = await stats(client)
  expect(empty).toMatchObject({
    total: 0,
    success_rate: null,
    duration_ms: { p50: null, p95: null, max: null },
    queue_ms: { p50: null, p95: null, max: null },
    usage: { cost_usd: '0', executions_of_unknown_cost: 0 },
    by_recipe: [],
    series: [],
    now: { ready: 0, oldest_ready_ms: null, running: 0 },
  })
  for (let i = 0; i < 3; i++) await started(client, 'Good', good)
  await started(client, 'Bad', bad)
  await started(client, 'Waits', hour)
  await work()
  const priced = await started(client, 'Good', good)
  const all = await stats(client)
  expect(all).toMatchObject({
    total: 6,
    by_status: { succeeded: 3, failed: 1, waiting: 1, queued: 1, running: 0, paused: 0 },
    success_rate: 0.75,
    by_trigger: [{ trigger: 'api', count: 6 }],
    now: { ready: 1, running: 0 },
  })
  expect(all.duration_ms['p50']).not.toBeNull()
  expect(all.by_recipe.map(({ slug, total, failed }) => [slug, total, failed])).toEqual([
    ['good', 4, 0],
    ...[
      ['bad', 1, 1],
      ['waits', 1, 0],
    ].toSorted((a, b) => {
      const idOf = (slug: unknown) => all.by_recipe.find((each) => each.slug === slug)!.recipe_id
      return idOf(a[0]) < idOf(b[0]) ? -1 : 1
    }),
  ])
  expect(all.series.reduce((sum, { total }) => sum + total, 0)).toBe(6)
  expect(await stats(client, '?recipe_id=bad')).toMatchObject({ total: 1, success_rate: 0, now: { ready: 0 } })
  expect(await stats(client, '?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z')).toMatchObject({ total: 0 })

  // One unknown cost makes the sum unknown; it is never left out of it in silence.
  const setCost = (cost: string | null) =>
    sql`update runs set usage = ${jsonb({ cost_usd: cost })} where id = ${priced}`.execute(db)
  await setCost('0.25')
  expect((await stats(client)).usage).toMatchObject({ cost_usd: '0.25', executions_of_unknown_cost: 0 })
  await setCost(null)
  expect((await stats(client)).usage).toMatchObject({ cost_usd: null, executions_of_unknown_cost: 1 })
  expect(await stats(await app.signIn())).toMatchObject({ total: 0 })
})

test('a window that is none or too long, and a recipe that is none, are refused', async () => {
  const client = await app.signIn()
  for (const query of ['?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z', '?from=2020-01-01T00:00:00Z', '?to=never'])
    expect((await client.get(`/api/executions/stats${query}`)).status, query).toBe(422)
  expect((await client.get('/api/executions/stats?recipe_id=nothing')).status).toBe(404)
})

test('an execution that waits long is not stuck; one whose rows contradict each other is, and says how', async () => {
  const client = await app.signIn()
  const waiting = await started(client, 'Waits', hour)
  await work()
  const queued = await started(client, 'Good', good)
  expect(await findings(client)).toEqual({})
  // However old: age is no finding.
  await sql`update runs set created_at = app_now() - interval '6 days' where id in (${waiting}, ${queued})`.execute(db)
  expect(await findings(client)).toEqual({})

  await db.deleteFrom('run_queue').where('run_id', '=', queued).execute()
  expect(await findings(client)).toEqual({ not_in_queue: [queued] })
  await db.insertInto('run_queue').values({ run_id: queued, workspace_id: client.workspaceId }).execute()

  await sql`update waits set wake_at = app_now() - interval '5 seconds' where run_id = ${waiting}`.execute(db)
  expect(await findings(client)).toEqual({ wait_overdue: [waiting] })
  await db.deleteFrom('waits').where('run_id', '=', waiting).execute()
  expect(await findings(client)).toEqual({ not_waiting: [waiting] })
  expect(await findings(await app.signIn())).toEqual({})
})

test('a lease that ran out, an engine that nobody knows and a child whose parent has ended are found', async () => {
  const client = await app.signIn()
  const [held, newer, child, parent] = [
    await started(client, 'Good', good),
    await started(client, 'Good', good),
    await started(client, 'Good', good),
    await started(client, 'Bad', bad),
  ]
  await sql`update runs set state = 'running', lease_owner = 'gone', lease_until = app_now() - interval '3 seconds'
    where id = ${held}`.execute(db)
  await db.deleteFrom('run_queue').where('run_id', '=', held).execute()
  await db.updateTable('runs').set({ engine_version: 999 }).where('id', '=', newer).execute()
  await sql`update runs set state = 'failed', finished_at = app_now() where id = ${parent}`.execute(db)
  await db.deleteFrom('run_queue').where('run_id', '=', parent).execute()
  await db.updateTable('runs').set({ parent_run_id: parent }).where('id', '=', child).execute()
  expect(await findings(client)).toEqual({ lease_expired: [held], unknown_engine: [newer], orphaned: [child] })
  const { findings: all } = (await (await client.get('/api/executions/stuck')).json()) as Stuck
  const overdue = all.find(({ kind }) => kind === 'lease_expired')!.executions[0]!.overdue_ms!
  expect(overdue).toBeGreaterThanOrEqual(3000)
})
