import { beforeAll, expect, test } from 'vitest'
import { createApiDocument } from '../src/app.ts'
import { createTestApp, testConfig, type Client } from './support/app.ts'
import { createIdentityProvider } from './support/jwks-server.ts'
import { signInUser } from './support/user.ts'

interface OperationNode {
  operationId: string
  requestBody?: { content: Record<string, { example?: unknown }> }
}
/** Everything that answers without a key. It grows only on purpose. */
const publicOperations = new Set([
  'getWelcome',
  'getHealth',
  'getLiveness',
  'getReadiness',
  'getMetrics',
  'getRecipeSchema',
])
/** Needs no key, because the address itself is the secret; an unknown one is 404. */
const byAddress = new Set(['sendPing', 'postPing'])
/** Takes a proof of another kind than a key; tests of its own say which. */
const ownProof = new Set(['receiveWebhook'])
/** Answers every key that is valid: it shows nothing but that key and its own permissions. */
const anyKey = new Set(['listPermissions', 'getIdentity'])
/** Work on what the caller sends and touch no stored thing, so a stranger's key is a key like any other. */
const withoutResources = new Set([
  'validateRecipe',
  'previewSchedule',
  'testModel',
  'listModels',
  'getDefaultModel',
  'listEndpointStats',
  'listWebhookEventTypes',
])

const operations = Object.entries(createApiDocument(testConfig()).paths ?? {}).flatMap(([path, item]) =>
  Object.entries(item as Record<string, OperationNode>).map(([method, operation]) => ({
    id: operation.operationId,
    method: method.toUpperCase(),
    path,
    body: operation.requestBody?.content['application/json']?.example,
  })),
)
type Listed = (typeof operations)[number]
const named = (list: Listed[]) => list.map((operation) => [operation.id, operation] as const)
const guarded = operations.filter(({ id }) => !publicOperations.has(id) && !byAddress.has(id) && !ownProof.has(id))

const provider = await createIdentityProvider()
const owner = await createTestApp({ config: provider.config })
const { signIn } = owner
/** Who has no business in the owner's workspace. */
const strangers: [string, () => Promise<Pick<Client, 'request'>>][] = [
  ['key', () => signIn()],
  ['user', () => signInUser(owner, provider)],
]
const ids: Record<string, string> = { version: '1' }
const nowhere = '01939f3c-5c2a-7b3e-9d1a-000000000000'

async function make(path: string, body: unknown): Promise<string> {
  const response = await owner.post(path, body)
  const made = (await response.json()) as { id: string }
  expect(response.ok, `${path}: ${JSON.stringify(made)}`).toBe(true)
  return made.id
}

beforeAll(async () => {
  ids['api_key'] = await make('/api/api-keys', { name: 'Mine', scopes: ['agents:read'] })
  ids['credential'] = await make('/api/credentials', {
    slug: 'mine',
    name: 'Mine',
    kind: 'bearer',
    hosts: ['api.example.com'],
    fields: { token: 'secret' },
  })
  ids['agent'] = await make('/api/agents', { name: 'Mine', system_prompt: 'Be brief.' })
  ids['recipe'] = await make('/api/workflow-recipes', {
    name: 'Mine',
    steps: [{ id: 'one', kind: 'transform', value: 1 }],
  })
  ids['execution'] = await make(`/api/workflow-recipes/${ids['recipe']}/execute`, { input_data: {} })
  ids['schedule'] = await make('/api/schedules', { recipe_id: ids['recipe'], cron: '0 7 * * *' })
  ids['webhook'] = await make('/api/webhooks', { recipe_id: ids['recipe'] })
  ids['subscription'] = await make('/api/webhooks/subscriptions', { url: 'https://hooks.example.com/' })
  ids['workflow'] = await make('/api/workflows', { goal: 'Write a line.' })
  ids['file'] = await make('/api/files', { a: 'file' })
  ids['workspace'] = owner.workspaceId
})

/** Where an operation does not answer without. */
const queries: Record<string, string> = { diffRecipeVersions: '?from=1&to=1' }
const fill = (path: string, values: Record<string, string>) =>
  path.replace(/\{([^}]+)\}/g, (_, name: string) => values[name] ?? nowhere)
const call = (
  client: Pick<Client, 'request'>,
  { id, method, path, body }: Listed,
  values = ids,
  headers: Record<string, string> = {},
) =>
  client.request(
    method,
    fill(path, values) + (queries[id] ?? ''),
    body ?? (method === 'GET' || method === 'DELETE' ? undefined : {}),
    headers,
  )

test.each(named(operations.filter(({ id }) => publicOperations.has(id))))(
  '%s answers anybody',
  async (_, operation) => {
    expect((await owner.app.request(operation.path)).status).toBe(200)
  },
)

test.each(named(operations.filter(({ id }) => byAddress.has(id))))(
  '%s answers nobody who does not know the address',
  async (_, { method, path }) => {
    expect((await owner.app.request(fill(path, ids), { method })).status).toBe(404)
  },
)

test.each(named(guarded))('%s answers 401 without a key', async (_, operation) => {
  const { method, path } = operation
  expect((await owner.app.request(fill(path, ids), { method })).status).toBe(401)
})

test('a key without scopes is let in nowhere', async () => {
  const powerless = await signIn({ scopes: [], workspace: owner.workspaceId })
  for (const operation of guarded) {
    const { status } = await call(powerless, operation)
    expect(status, operation.id).toBe(anyKey.has(operation.id) ? 200 : 403)
  }
})

test('a widget key is let in nowhere outside its routes', async () => {
  const visitor = await signIn({ kind: 'widget', workspace: owner.workspaceId, allowedDomains: ['shop.example'] })
  for (const operation of guarded) {
    expect((await call(visitor, operation)).status, operation.id).toBe(403)
  }
})

const byId = guarded.filter(({ path }) => /\{(?!version)/.test(path))
const byIdToAll = strangers.flatMap(([kind, come]) =>
  named(byId).map(([id, operation]) => [id, kind, operation, come] as const),
)
test.each(byIdToAll)(
  "%s answers another workspace's id as one that never existed: to a %s",
  async (_, __, operation, come) => {
    const stranger = await come()
    const foreign = await call(stranger, operation)
    const missing = await call(stranger, operation, { version: '1' })
    const [a, b] = [await foreign.text(), await missing.text()]
    if (foreign.status === 200) expect(JSON.parse(a)).toMatchObject({ items: [] })
    else expect(foreign.status, a).toBe(404)
    expect(missing.status).toBe(foreign.status)
    const withoutIds = (text: string) =>
      Object.values(ids)
        .reduce((rest, id) => (id === '1' ? rest : rest.replaceAll(id, nowhere)), text)
        .replace(/"request_id":"[^"]+"/, '')
    expect(withoutIds(a)).toBe(withoutIds(b))
  },
)

const signed = guarded.filter(({ path }) => /\/(ticket|link)$/.test(path))
test.each(named(signed))("%s gives a stranger an address that opens nothing of another's", async (_, operation) => {
  const stranger = await signIn()
  const recipe = await stranger.post('/api/workflow-recipes', {
    name: 'Theirs',
    steps: [{ id: 'one', kind: 'transform', value: 1 }],
  })
  const theirs = { ...ids, recipe: ((await recipe.json()) as { id: string }).id }
  const execution = await stranger.post(`/api/workflow-recipes/${theirs.recipe}/execute`, {})
  const file = await stranger.post('/api/files', { a: 'file' })
  const workflow = await stranger.post('/api/workflows', { goal: 'Say hello.' })
  const answer = await call(stranger, operation, {
    ...theirs,
    file: ((await file.json()) as { id: string }).id,
    execution: ((await execution.json()) as { id: string }).id,
    workflow: ((await workflow.json()) as { id: string }).id,
  })
  expect(answer.status).toBe(200)
  const { search } = new URL(((await answer.json()) as { url: string }).url)
  for (const { method, path } of guarded) {
    expect((await owner.app.request(fill(path, ids) + search, { method })).status, path).toBe(401)
  }
})

test.each(strangers)('nobody gets into a workspace by naming it: no %s, in no operation', async (_, come) => {
  const stranger = await come()
  const { slug } = await owner.db
    .selectFrom('workspaces')
    .select('slug')
    .where('id', '=', owner.workspaceId)
    .executeTakeFirstOrThrow()
  for (const operation of guarded) {
    const answers = []
    for (const name of [owner.workspaceId, slug, crypto.randomUUID()]) {
      const response = await call(stranger, operation, ids, { 'x-workspace-id': name, 'x-request-id': 'same' })
      expect(response.status, operation.id).toBe(404)
      answers.push(await response.text())
    }
    expect(new Set(answers).size, operation.id).toBe(1)
  }
})

test.each(strangers)("lists of a stranger hold nothing of another's: of a %s", async (_, come) => {
  const stranger = await come()
  const lists = guarded.filter(
    ({ id, path, method }) => method === 'GET' && !path.includes('{') && !withoutResources.has(id),
  )
  for (const operation of lists) {
    const response = await call(stranger, operation)
    expect(response.status, operation.id).toBe(200)
    const text = await response.text()
    for (const [name, id] of Object.entries(ids)) if (name !== 'version') expect(text, operation.id).not.toContain(id)
    expect(text, operation.id).not.toContain(owner.workspaceId)
  }
})

test("what a stranger creates cannot hang on another's things", async () => {
  const stranger = await signIn()
  const schedule = await stranger.post('/api/schedules', { recipe_id: ids['recipe'], cron: '0 7 * * *' })
  expect([404, 422]).toContain(schedule.status)
})

test('after all that, nothing of the owner has changed', async () => {
  for (const [name, path] of Object.entries({
    api_key: '/api/api-keys',
    credential: '/api/credentials',
    agent: '/api/agents',
    recipe: '/api/workflow-recipes',
    execution: '/api/executions',
    schedule: '/api/schedules',
    workflow: '/api/workflows',
    file: '/api/files',
  })) {
    const response = await owner.get(`${path}/${ids[name]}`)
    expect(response.status, path).toBe(200)
    expect(await response.json(), path).not.toMatchObject({ paused: true })
  }
})
