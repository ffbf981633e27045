import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createApiDocument } from '../../src/app.ts'
import { createTestApp, testConfig } from '../support/app.ts'
import { audited, notAudited } from '../support/audited-operations.ts'

const document = createApiDocument(testConfig())
const mutating = Object.values(document.paths ?? {}).flatMap((item) =>
  Object.entries(item as Record<string, { operationId?: string }>).flatMap(([method, { operationId }]) =>
    ['post', 'put', 'patch', 'delete'].includes(method) && operationId ? [operationId] : [],
  ),
)
const source = join(import.meta.dirname, '../../src')
const texts = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => readFileSync(join(source, path), 'utf8'))

test('every operation that changes something is audited, or says why it is not', () => {
  const unsettled = mutating.filter((id) => !Object.hasOwn(audited, id) && !Object.hasOwn(notAudited, id))
  expect(unsettled, 'name these in test/support/audited-operations.ts').toEqual([])
  expect(Object.keys(audited).filter((id) => Object.hasOwn(notAudited, id))).toEqual([])
})

test('the table names no operation that is gone, and no action that nothing records', () => {
  const known = [...Object.keys(audited), ...Object.keys(notAudited)]
  expect(known.filter((id) => !mutating.includes(id))).toEqual([])
  const isRecorded = (action: string) => {
    const [resource, verb] = action.split('.')
    // Some are put together: `approval.${decision}`.
    return texts.some(
      (text) =>
        text.includes(`'${action}'`) ||
        (text.includes(`\`${resource}.`) && new RegExp(`['_]${verb!.replace(/^.*_/, '')}'`).test(text)),
    )
  }
  expect(
    Object.values(audited)
      .flat()
      .filter((action) => !isRecorded(action)),
  ).toEqual([])
})

test('an action is a resource and what was done to it', () => {
  for (const action of Object.values(audited).flat()) expect(action).toMatch(/^[a-z_]+\.[a-z_]+$/)
  for (const reason of Object.values(notAudited)) expect(reason.length).toBeGreaterThan(15)
})

test('what the table says is in the log of whoever does it, once each, with secrets hidden', async () => {
  const { signIn } = await createTestApp()
  const client = await signIn()
  const ask = async (method: string, path: string, body?: unknown) => {
    const response = await client.request(method, path, body)
    const text = await response.text()
    expect(response.ok, `${method} ${path}: ${text}`).toBe(true)
    return (text === '' ? {} : JSON.parse(text)) as { [key: string]: any }
  }
  const expected: string[] = []
  const act = async (action: string | null, method: string, path: string, body?: unknown) => {
    if (action !== null) expected.push(action)
    return ask(method, path, body)
  }
  const steps = [{ id: 'one', kind: 'transform', value: 1 }]
  const recipe = await act('recipe.created', 'POST', '/api/workflow-recipes', { name: 'R', slug: 'recipe-one', steps })
  await act('recipe.updated', 'PATCH', '/api/workflow-recipes/recipe-one', { description: 'Changed.' })
  await act(null, 'PATCH', '/api/workflow-recipes/recipe-one', { description: 'Changed.' })
  await act('recipe.version_restored', 'POST', '/api/workflow-recipes/recipe-one/versions/1/restore')
  const timing = { recipe_id: recipe['id'], cron: '0 7 * * *', name: 'daily' }
  const schedule = `/api/schedules/${(await act('schedule.created', 'POST', '/api/schedules', timing))['id']}`
  await act('schedule.updated', 'PATCH', schedule, { cron: '0 8 * * *' })
  await act('schedule.paused', 'POST', `${schedule}/pause`)
  await act('schedule.resumed', 'POST', `${schedule}/resume`)
  await act('schedule.ping_created', 'POST', `${schedule}/ping`, { period: '1h' })
  await act('schedule.ping_updated', 'PATCH', `${schedule}/ping`, { period: '2h' })
  await act('schedule.ping_deleted', 'DELETE', `${schedule}/ping`)
  await act('schedule.deleted', 'DELETE', schedule)
  const hook = await act('webhook.created', 'POST', '/api/webhooks', {
    recipe_id: recipe['id'],
    auth: { mode: 'url_token' },
  })
  await act('webhook.updated', 'PATCH', `/api/webhooks/${hook['id']}`, { name: 'Renamed' })
  const rotated = await act('webhook.secret_rotated', 'POST', `/api/webhooks/${hook['id']}/rotate-secret`, {})
  await act('webhook.deleted', 'DELETE', `/api/webhooks/${hook['id']}`)
  const subscriptions = '/api/webhooks/subscriptions'
  const subscription = await act('webhook_subscription.created', 'POST', subscriptions, {
    url: 'https://example.com/in',
  })
  await act('webhook_subscription.updated', 'PATCH', `${subscriptions}/${subscription['id']}`, { active: false })
  await act('webhook_subscription.deleted', 'DELETE', `${subscriptions}/${subscription['id']}`)
  const key = await act('api_key.created', 'POST', '/api/api-keys', {
    name: 'K',
    kind: 'server',
    scopes: ['agents:read'],
  })
  await act('api_key.revoked', 'DELETE', `/api/api-keys/${key['id']}`)
  await act('agent.created', 'POST', '/api/agents', { name: 'Scout', slug: 'scout' })
  await act('agent.created', 'POST', '/api/agents/scout/clone', {})
  await act('agent.deleted', 'DELETE', '/api/agents/scout')
  const started = await act(null, 'POST', '/api/workflow-recipes/recipe-one/execute', {})
  await act('execution.paused', 'POST', `/api/executions/${started['id']}/pause`, {})
  await act('execution.resumed', 'POST', `/api/executions/${started['id']}/resume`)
  await act('execution.canceled', 'POST', `/api/executions/${started['id']}/cancel`, {})
  await act(null, 'POST', `/api/executions/${started['id']}/cancel`, {})
  await act('workspace.retention_updated', 'PATCH', '/api/workspaces/current/retention', { audit_days: 90 })
  await act('workspace.updated', 'PATCH', '/api/workspaces/current', { name: 'Renamed' })
  await act('workspace.paused', 'POST', '/api/workflows/pause', {})
  await act('workspace.resumed', 'POST', '/api/workflows/resume')
  await act('recipe.deleted', 'DELETE', '/api/workflow-recipes/recipe-one')

  const { items } = await ask('GET', '/api/audit-logs?limit=200')
  expect(items.map(({ action }: { action: string }) => action).toReversed()).toEqual(expected)
  const text = JSON.stringify(items)
  for (const secret of [hook['secret'], rotated['secret'], subscription['secret'], key['key']]) {
    expect(secret).toEqual(expect.any(String))
    expect(text).not.toContain(secret)
  }
  expect(await ask('GET', '/api/audit-logs/verify')).toMatchObject({ valid: true, checked: expected.length })
})
