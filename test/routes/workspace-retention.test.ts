import { expect, test } from 'vitest'
import { createTestApp } from '../support/app.ts'

const { signIn } = await createTestApp()
type Body = { [key: string]: any }
const json = async (response: Response) => (await response.json()) as Body
const path = '/api/workspaces/current/retention'

test('a workspace has the defaults until it says otherwise, field by field', async () => {
  const client = await signIn()
  const first = await client.get(path)
  expect(await json(first)).toEqual({
    days: {
      executions_days: 90,
      schedule_slots_days: 90,
      webhook_logs_days: 30,
      files_days: 0,
      audit_days: 365,
      model_usage_days: 400,
      replays_days: 90,
      workflows_days: 400,
    },
    settings: {
      executions_days: null,
      schedule_slots_days: null,
      webhook_logs_days: null,
      files_days: null,
      audit_days: null,
      model_usage_days: null,
      replays_days: null,
      workflows_days: null,
    },
    deleted: {
      executions: { count: 0, last_deleted_at: null },
      schedule_slots: { count: 0, last_deleted_at: null },
      webhook_logs: { count: 0, last_deleted_at: null },
      model_usage: { count: 0, last_deleted_at: null },
      replays: { count: 0, last_deleted_at: null },
      workflows: { count: 0, last_deleted_at: null },
    },
  })
  const etag = first.headers.get('etag')!
  const changed = await client.patch(path, { executions_days: 7 }, { 'if-match': etag })
  expect(changed.status).toBe(200)
  expect(await json(changed)).toMatchObject({
    days: { executions_days: 7, webhook_logs_days: 30 },
    settings: { executions_days: 7, webhook_logs_days: null },
  })
  expect((await client.patch(path, { executions_days: 8 }, { 'if-match': etag })).status).toBe(412)
  const more = await json(await client.patch(path, { webhook_logs_days: 0 }))
  expect(more['days']).toMatchObject({ executions_days: 7, webhook_logs_days: 0 })
  expect(await json(await (await signIn()).get(path))).toMatchObject({ settings: { executions_days: null } })
})

test('what is in effect is no shorter than what views and budgets need', async () => {
  const client = await signIn()
  const change = { executions_days: 20, workflows_days: 5, model_usage_days: 5, replays_days: 5 }
  expect(await json(await client.patch(path, change))).toMatchObject({
    days: { executions_days: 20, workflows_days: 20, model_usage_days: 32, replays_days: 5 },
    settings: change,
  })
  expect(await json(await client.patch(path, { executions_days: 0 }))).toMatchObject({
    days: { workflows_days: 0, model_usage_days: 0, replays_days: 5 },
  })
})

test.each([
  { executions_days: -1 },
  { workflows_days: -1 },
  { executions_days: 1.5 },
  { executions_days: '7' },
  { nothing_days: 1 },
])('refuses %j', async (change) => {
  expect((await (await signIn()).patch(path, change)).status).toBe(422)
})

test('who may not manage the workspace may read it alone', async () => {
  const reader = await signIn({ scopes: ['workspaces:read'] })
  expect((await reader.get(path)).status).toBe(200)
  expect((await reader.patch(path, { executions_days: 1 })).status).toBe(403)
})

test('a backfill is refused before the ledger: what fired there would fire again', async () => {
  const client = await signIn()
  const steps = [{ id: 'one', kind: 'transform', value: 1 }]
  const recipe = await json(await client.post('/api/workflow-recipes', { name: 'R', steps }))
  const schedule = await json(await client.post('/api/schedules', { recipe_id: recipe['id'], cron: '0 7 * * *' }))
  const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString()
  await client.patch(path, { schedule_slots_days: 5 })
  const fill = (days: number) =>
    client.post(`/api/schedules/${schedule['id']}/backfills`, { from: daysAgo(days), to: daysAgo(1), concurrency: 1 })
  const refused = await fill(6)
  expect(refused.status).toBe(422)
  expect(await json(refused)).toMatchObject({ errors: [{ pointer: '/from' }] })
  const made = await fill(4)
  expect(made.ok, await made.text()).toBe(true)
})
