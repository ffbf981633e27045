import { expect, test } from 'vitest'
import { createApiDocument } from '../../src/app.ts'
import { version } from '../../src/lib/version.ts'
import packageJson from '../../package.json' with { type: 'json' }
import { parseConfig } from '../../src/config.ts'
import { createTestApp, testConfig } from '../support/app.ts'

interface OperationNode {
  operationId: string
  summary?: string
  tags: string[]
  security?: object[]
  requestBody?: { content: Record<string, { example?: unknown; schema: object }> }
  responses: Record<string, { content?: Record<string, { schema?: object; example?: unknown }> }>
}
const document = createApiDocument(testConfig())
const operations = Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
  Object.entries(item as Record<string, OperationNode>).map(
    ([method, node]) => [node.operationId, { path, method, node }] as const,
  ),
)
const { app, get } = await createTestApp()

test('the version is that of the package', () => {
  expect(version).toBe(packageJson.version)
})

test('the document names its address, its tags and how to authenticate', () => {
  expect(createApiDocument(parseConfig({ API_URL: 'https://api.example.com/' })).servers).toEqual([
    { url: 'https://api.example.com', description: expect.any(String) },
  ])
  expect(document.info.description).toContain('## Authentication')
  expect(Object.keys(document.components?.securitySchemes ?? {})).toEqual(['bearer', 'jwt', 'apiKey', 'ticket'])
  for (const tag of document.tags ?? []) expect(tag.description, tag.name).toBeTruthy()
})

test('operation ids are unique', () => {
  expect(new Set(operations.map(([id]) => id)).size).toBe(operations.length)
})

test.each(operations)('%s is described whole', (_, { node }) => {
  expect(node.summary).toBeTruthy()
  expect(document.tags?.map((tag) => tag.name)).toContain(node.tags[0])
  const statuses = Object.keys(node.responses)
  expect(statuses.some((status) => status.startsWith('2'))).toBe(true)
  expect(statuses).toContain('500')
  if (node.security?.length) expect(statuses).toEqual(expect.arrayContaining(['401', '403', '429', '503']))
  if (node.requestBody) {
    expect(statuses).toEqual(expect.arrayContaining(['400', '413', '415', '422']))
    for (const { example } of Object.values(node.requestBody.content))
      expect(example, 'an example of the body').toBeDefined()
  }
})

const statics = operations.filter(([, { path, method }]) => !path.includes('{') && method === 'get')
test.each(statics)('%s is what answers at its static path', async (_, { path }) => {
  const fresh = await get(path)
  expect(fresh.status).toBe(200)
  const stats = (await (await get('/api/health/endpoints')).json()) as { items: { endpoint: string }[] }
  expect(stats.items.map((item) => item.endpoint)).toContain(`GET ${path}`)
})

const staticPosts = operations.filter(([, { path, method }]) => !path.includes('{') && method !== 'get')
test.each(staticPosts)('%s is what answers there too', async (_, { path, method, node }) => {
  const response = await app.request(path, { method: method.toUpperCase() })
  // A public one misses the body.
  expect(response.status).toBe(node.security?.length ? 401 : 422)
  const stats = (await (await get('/api/health/endpoints')).json()) as { items: { endpoint: string }[] }
  expect(stats.items.map((item) => item.endpoint)).toContain(`${method.toUpperCase()} ${path}`)
})
