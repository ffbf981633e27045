import { expect, test } from 'vitest'
import { jsonb } from '../../src/db/json.ts'
import { parseConfig } from '../../src/config.ts'
import { refreshSettings } from '../../src/services/settings/refresh.ts'
import { createTestApp } from '../support/app.ts'

type Body = { [key: string]: any }
const json = async (response: Response) => (await response.json()) as Body
const path = '/api/system-settings'
const shared = await createTestApp()

test('a setting of the database comes before the environment, and the environment before the default', async () => {
  const { get, put, del } = await createTestApp()
  const all = await json(await get(path))
  expect(all['items'].find(({ key }: Body) => key === 'LOG_LEVEL')).toMatchObject({
    value: 'info',
    source: 'default',
    choices: ['debug', 'info', 'warn', 'error'],
    permission: 'system:manage',
  })
  const first = await get(`${path}/RATE_LIMIT_AUTHENTICATED`)
  expect(await json(first)).toMatchObject({
    value: '100000/minute',
    source: 'environment',
    environment_value: '100000/minute',
    default_value: '600/minute',
  })
  const etag = first.headers.get('etag')!
  const changed = await put(`${path}/RATE_LIMIT_AUTHENTICATED`, { value: '5000/hour' }, { 'if-match': etag })
  expect(await json(changed)).toMatchObject({ value: '5000/hour', source: 'database', database_value: '5000/hour' })
  expect((await put(`${path}/RATE_LIMIT_AUTHENTICATED`, { value: '1/day' }, { 'if-match': etag })).status).toBe(412)
  const config = await json(await get('/api/system/config'))
  expect(config['items'].find(({ key }: Body) => key === 'RATE_LIMIT_AUTHENTICATED')).toEqual({
    key: 'RATE_LIMIT_AUTHENTICATED',
    category: 'Rate limits',
    value: '5000/hour',
    source: 'database',
  })
  expect((await del(`${path}/RATE_LIMIT_AUTHENTICATED`)).status).toBe(204)
  expect(await json(await get(`${path}/RATE_LIMIT_AUTHENTICATED`))).toMatchObject({ source: 'environment' })
})

test('a change counts from the next request on, in this process', async () => {
  const { get, put, signIn, logged, runtime } = await createTestApp()
  const client = await signIn()
  expect((await client.get('/api/auth/me')).headers.get('ratelimit-limit')).toBe('100000')
  await put(`${path}/RATE_LIMIT_AUTHENTICATED`, { value: '7/minute' })
  expect((await client.get('/api/auth/me')).headers.get('ratelimit-limit')).toBe('7')
  await put(`${path}/RETENTION_EXECUTIONS_DAYS`, { value: 12 })
  expect((await json(await client.get('/api/workspaces/current/retention')))['days']).toMatchObject({
    executions_days: 12,
  })
  expect(runtime.config.rateLimitAuthenticated.limit).toBe(100_000)
  expect(logged.filter(({ level }) => level === 'error')).toEqual([])
  await get(path)
})

test('another process takes the change over when it looks, and passes over what it does not understand', async () => {
  const one = await createTestApp()
  const two = await createTestApp({ database: one.database })
  await one.put(`${path}/RATE_LIMIT_AUTHENTICATED`, { value: '9/minute' })
  const limit = async () => (await two.get('/api/auth/me')).headers.get('ratelimit-limit')
  expect(await limit()).toBe('100000')
  await refreshSettings(two.runtime)
  expect(await limit()).toBe('9')
  await one.db
    .updateTable('system_settings')
    .set({ value: jsonb('many') })
    .where('key', '=', 'RATE_LIMIT_AUTHENTICATED')
    .execute()
  await refreshSettings(two.runtime)
  expect(await limit()).toBe('100000')
  expect(two.logged).toContainEqual(
    expect.objectContaining({ level: 'warn', fields: { key: 'RATE_LIMIT_AUTHENTICATED' } }),
  )
})

test.each([
  ['LOG_LEVEL', 'loud'],
  ['LOG_LEVEL', 3],
  ['RATE_LIMIT_DEFAULT', 'often'],
  ['RATE_LIMIT_DEFAULT', '0/minute'],
  ['RETENTION_AUDIT_DAYS', -1],
  ['RETENTION_AUDIT_DAYS', 40_000],
  ['RETENTION_AUDIT_DAYS', '30'],
  ['RETENTION_AUDIT_DAYS', 1.5],
  ['LLM_PROVIDER', 'nobody'],
  ['LLM_MODEL', ' '],
])('%s does not take %j', async (key, value) => {
  const { put, get } = shared
  const refused = await put(`${path}/${key}`, { value })
  expect(refused.status).toBe(422)
  expect(await json(refused)).toMatchObject({ errors: [{ pointer: '/value' }] })
  expect((await json(await get(`${path}/${key}`)))['database_value']).toBeNull()
})

test('who changed it, from what to what, is kept', async () => {
  const { put, del, get, keyId } = shared
  await put(`${path}/LLM_MODEL`, { value: 'one' })
  await put(`${path}/LLM_MODEL`, { value: 'two' })
  await put(`${path}/LLM_MODEL`, { value: 'two' })
  await del(`${path}/LLM_MODEL`)
  const { items } = await json(await get(`${path}/LLM_MODEL/history`))
  expect(items.map(({ from, to }: Body) => [from, to])).toEqual([
    ['two', null],
    ['one', 'two'],
    [null, 'one'],
  ])
  expect(items[0].changed_by).toEqual({ kind: 'key', id: keyId })
})

test('who does not operate the installation sees and changes nothing of it', async () => {
  const { signIn } = shared
  const reader = await signIn({ scopes: ['system:read'] })
  expect((await reader.get(`${path}/LOG_LEVEL`)).status).toBe(200)
  expect((await reader.put(`${path}/LOG_LEVEL`, { value: 'warn' })).status).toBe(403)
  const tenant = await signIn({ scopes: ['workspaces:manage', 'audit:read'] })
  for (const at of [path, `${path}/LOG_LEVEL`, `${path}/LOG_LEVEL/history`, '/api/system/info', '/api/system/config'])
    expect((await tenant.get(at)).status, at).toBe(403)
  const { get, put } = shared
  expect((await get(`${path}/DATABASE_URL`)).status).toBe(404)
  expect((await put(`${path}/CREDENTIAL_ENCRYPTION_KEY`, { value: 'x' })).status).toBe(404)
})

test('the configuration is told with its sources and without its secrets', async () => {
  const config = parseConfig({ ENVIRONMENT: 'test', OPENAI_API_KEY: 'sk-canary-0123456789abcdef', PORT: '8123' })
  const { get } = await createTestApp({ config })
  const text = await (await get('/api/system/config')).text()
  expect(text).not.toContain('canary')
  const { items } = JSON.parse(text) as Body
  const of = (name: string) => items.find(({ key }: Body) => key === name)
  expect(of('OPENAI_API_KEY')).toMatchObject({ value: '***', source: 'environment' })
  expect(of('PORT')).toMatchObject({ value: '8123', source: 'environment' })
  expect(of('LOG_LEVEL')).toMatchObject({ value: 'info', source: 'default' })
  expect(of('ANTHROPIC_API_KEY')).toMatchObject({ value: null, source: 'unset' })
})

test('what was not measured is null, and what was is told', async () => {
  const { get } = shared
  expect(await json(await get('/api/system/info'))).toMatchObject({
    platform: 'node',
    process: null,
    started_at: null,
    schema: { pending_migrations: [] },
  })
  const components = await json(await get('/api/system/components'))
  expect(components).toMatchObject({ components: { database: { status: 'healthy' } }, services: null })
  const metrics = await json(await get('/api/system/metrics'))
  expect(metrics).toMatchObject({ scope: 'process', process: null, backlog: { automatos_runs_ready: 0 } })
  expect(metrics['http'].calls).toBeGreaterThan(0)
})
