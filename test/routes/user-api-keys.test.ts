import { expect, test } from 'vitest'
import { createTestApp, type Client } from '../support/app.ts'
import { loopbackServer } from '../support/loopback-server.ts'
import { startProviderServer } from '../support/provider-server.ts'
import { askModel } from '../../src/services/models/ask.ts'
import { permissions } from '../../src/lib/permissions.ts'

/** What providers say to a list of models, in the form of each; a good key holds `good`. */
const providers = await (async () => {
  const seen: { url: string; headers: Record<string, unknown> }[] = []
  const { createServer } = await import('node:http')
  const server = createServer((request, response) => {
    seen.push({ url: request.url ?? '', headers: request.headers })
    const { authorization, 'x-api-key': key, 'x-goog-api-key': google } = request.headers
    const given = String(authorization ?? key ?? google)
    response.writeHead(given.includes('good') ? 200 : google ? 400 : 401).end('{"data":[]}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  server.unref()
  return { seen, url: `http://127.0.0.1:${(server.address() as { port: number }).port}` }
})()
const app = await createTestApp({
  config: {
    openaiBaseUrl: `${providers.url}/openai`,
    anthropicBaseUrl: `${providers.url}/anthropic`,
    googleBaseUrl: `${providers.url}/google`,
    openrouterBaseUrl: `${providers.url}/openrouter`,
  },
})
const json = async (response: Response) => (await response.json()) as { [key: string]: any }
const put = (client: Client, provider: string, body: object) => client.put(`/api/user-api-keys/${provider}`, body)

test.each([
  ['openai', '/openai/models', { authorization: 'Bearer sk-good-1234' }],
  ['anthropic', '/anthropic/models?limit=1', { 'x-api-key': 'sk-good-1234', 'anthropic-version': '2023-06-01' }],
  ['google', '/google/models?pageSize=1', { 'x-goog-api-key': 'sk-good-1234' }],
  ['openrouter', '/openrouter/key', { authorization: 'Bearer sk-good-1234' }],
  ['openai-compatible', '/own/models', { authorization: 'Bearer sk-good-1234' }],
])('a key for %s is asked about in its own form, stored, and never told again', async (provider, url, headers) => {
  const client = await app.signIn()
  const base = provider === 'openai-compatible' ? { base_url: `${providers.url}/own` } : {}
  providers.seen.length = 0
  const refused = await put(client, provider, { api_key: 'sk-bad-12345', ...base })
  expect([refused.status, (await json(refused))['errors'][0].pointer]).toEqual([422, '/api_key'])
  expect((await client.get(`/api/user-api-keys/${provider}`)).status).toBe(404)

  const stored = await put(client, provider, { api_key: 'sk-good-1234', ...base })
  const text = await stored.text()
  expect([stored.status, JSON.parse(text)]).toMatchObject([
    201,
    { provider, hint: '…1234', version: 1, last_test: { ok: true } },
  ])
  expect(providers.seen.at(-1)!.url).toBe(url)
  expect(providers.seen.at(-1)!.headers).toMatchObject(headers)
  expect(text + (await (await client.get('/api/user-api-keys')).text())).not.toContain('good')
  const { sealed } = await app.db
    .selectFrom('user_api_keys')
    .select('sealed')
    .where('workspace_id', '=', client.workspaceId)
    .executeTakeFirstOrThrow()
  expect(sealed).not.toContain('good')

  const again = await put(client, provider, { api_key: 'sk-good-9999', ...base })
  expect([again.status, (await json(again))['version']]).toEqual([200, 2])
  expect(await json(await client.post(`/api/user-api-keys/${provider}/test`))).toMatchObject({ ok: true })
})

test('a key that nobody could be asked about is not stored, and one that is stale is not replaced', async () => {
  const client = await app.signIn()
  expect((await put(client, 'openai-compatible', { api_key: 'sk-good-1234' })).status).toBe(422)
  const away = { api_key: 'sk-good-1234', base_url: 'http://127.0.0.1:1/v1' }
  expect((await put(client, 'openai-compatible', away)).status).toBe(502)
  const inside = { ...away, base_url: 'http://10.0.0.1/v1' }
  expect((await put(client, 'openai-compatible', inside)).status).toBe(422)
  expect((await put(client, 'openai', inside)).status).toBe(422)
  expect((await put(client, 'unknown', { api_key: 'sk-good-1234' })).status).toBe(404)
  const tag = (await put(client, 'openai', { api_key: 'sk-good-1234' })).headers.get('etag')!
  await put(client, 'openai', { api_key: 'sk-good-9999' })
  const path = '/api/user-api-keys/openai'
  expect((await client.put(path, { api_key: 'sk-good-0000' }, { 'if-match': tag })).status).toBe(412)
  expect((await client.del(path, { 'if-match': tag })).status).toBe(412)
  expect((await (await app.signIn()).get(path)).status).toBe(404)
  expect((await client.del(path)).status).toBe(204)
  expect((await client.put(path, { api_key: 'sk-good-0000' }, { 'if-match': tag })).status).toBe(412)
})

test("a model is asked with the workspace's own key before the platform's, and never with another's", async () => {
  const server = await startProviderServer()
  try {
    const models = await loopbackServer((_, response) => response.end('{"data":[]}'))
    const probe = { openaiBaseUrl: `http://127.0.0.1:${models.port}` }
    const storing = await createTestApp({ database: app.database, config: probe })
    const [own, other] = [await storing.signIn(), await storing.signIn()]
    expect((await put(own, 'openai', { api_key: 'sk-of-the-tenant' })).status).toBe(201)
    const { env } = server
    const { parseConfig } = await import('../../src/config.ts')
    const config = { ...storing.runtime.config, ...pick(parseConfig({ ENVIRONMENT: 'test', ...env })) }
    const asking = { ...storing.runtime, config }
    const ask = (workspaceId: string) =>
      askModel(
        { ...asking, actor: { kind: 'key', id: own.keyId, workspaceId, permissions: new Set(permissions) } },
        {
          choice: { provider: 'openai', model: 'm' },
          system: null,
          messages: [{ role: 'user', text: 'Hello.' }],
          tools: [],
        },
      )
    await ask(own.workspaceId)
    await ask(other.workspaceId)
    expect(server.requests.map(({ headers }) => headers['authorization'])).toEqual([
      'Bearer sk-of-the-tenant',
      `Bearer ${env['OPENAI_API_KEY']}`,
    ])
  } finally {
    await server.close()
  }
})

const pick = ({ openaiApiKey, openaiBaseUrl }: { openaiApiKey: unknown; openaiBaseUrl: unknown }) =>
  ({ openaiApiKey, openaiBaseUrl }) as object
