import { expect, test } from 'vitest'
import { createApiDocument } from '../../src/app.ts'
import { createTestApp, testConfig } from '../support/app.ts'
import { workOff } from '../support/workflows.ts'

interface Schema {
  $ref?: string
  type?: string | string[]
  format?: string
  properties?: Record<string, Schema>
  anyOf?: Schema[]
  oneOf?: Schema[]
  allOf?: Schema[]
}
interface Parameter {
  name: string
  in: 'path' | 'query' | 'header'
  schema: Schema
}
interface Described {
  operationId: string
  parameters?: (Parameter | { $ref: string })[]
  requestBody?: { content: Record<string, { example?: unknown; schema: Schema }> }
  responses: Record<string, { content?: Record<string, unknown> }>
}
interface Case {
  about: string
  path: string
  headers?: Record<string, string>
  body?: string
}

const app = await createTestApp()
const document = createApiDocument(testConfig()) as unknown as {
  paths: Record<string, Record<string, Described>>
  components: { schemas: Record<string, Schema>; parameters?: Record<string, Parameter> }
}

// As raw text for an address; a lone surrogate is what its bytes in UTF-8 would be.
const long = 'x'.repeat(300_000)
const years = { 'year 0': '0000-01-01T00:00:00Z', 'year 9999': '9999-12-31T23:59:59-23:59' }
const cursor = (millis: string, id: string) => btoa(`${millis}.${id}`).replace(/=+$/, '')
const uuid = '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f'
const cursors = {
  'a foreign cursor': cursor('1795334400000', uuid),
  'a cursor of no year': cursor('999999999999999', uuid),
  'a cursor of no id': cursor('1795334400000', '-'.repeat(36)),
}
const addressed = { NUL: '%00', 'a lone surrogate': '%ed%a0%80', 'a long text': long, ...years, ...cursors }
const sizes = { 'a large number': '99999999999999', 'a larger one': '9'.repeat(30), 'a negative one': '-1' }
const written = { NUL: 'a\0b', 'a lone surrogate': 'a\ud800b', 'a long text': long, ...years }

/** Ids of things that are there, so that what is hostile comes to where it is used. */
const ids: Record<string, string> = { version: '1', plan: '1', step: 'one', template: 'feed-digest' }

async function make(name: string, path: string, body: object): Promise<void> {
  const response = await app.post(path, body)
  expect(response.status, `${path} ${await response.clone().text()}`).toBeLessThan(300)
  ids[name] = String(((await response.json()) as { id: string | number }).id)
}

ids['workspace'] = app.workspaceId
ids['api_key'] = app.keyId
await make('recipe', '/api/workflow-recipes', {
  name: 'A recipe',
  slug: 'morning-digest',
  steps: [{ id: 'one', kind: 'transform', value: 1 }],
})
// By the slugs that the examples name.
await make('shipping', '/api/workflow-recipes', {
  name: 'Shipping',
  slug: 'ship-order',
  steps: [{ id: 'ok', kind: 'approval', message: 'Send?' }],
})
await make('asking', '/api/workflow-recipes/ship-order/execute', {})
await make('credential', '/api/credentials', {
  slug: 'tracker',
  kind: 'bearer',
  fields: { token: 'x' },
  hosts: ['api.tracker.example'],
})
await make('agent', '/api/agents', { name: 'An agent', slug: 'an-agent', system_prompt: 'You answer.' })
await make('execution', `/api/workflow-recipes/${ids['recipe']}/execute`, {})
await make('schedule', '/api/schedules', { recipe_id: ids['recipe'], cron: '0 7 * * *' })
expect((await app.post(`/api/schedules/${ids['schedule']}/ping`, { period: '1d' })).status).toBe(201)
await make('webhook', '/api/webhooks', { recipe_id: ids['recipe'], name: 'orders', auth: { mode: 'signature' } })
await make('subscription', '/api/webhooks/subscriptions', {
  url: 'https://hooks.example.com/automatos',
  name: 'operations',
  events: ['*'],
})
await workOff(app.runtime)
await make('execution', `/api/workflow-recipes/${ids['recipe']}/execute`, {})
const asked = (await (await app.get(`/api/approvals?execution_id=${ids['asking']}`)).json()) as {
  items: { id: string }[]
}
ids['approval'] = asked.items[0]!.id
await make('workflow', '/api/workflows', { goal: 'Read https://news.example/feed.xml and sum it up.' })
await make('replay', '/api/executions/replays', { recipe: 'morning-digest', last: 1 })

const resolve = (schema: Schema): Schema =>
  schema.$ref === undefined ? schema : resolve(document.components.schemas[schema.$ref.split('/').at(-1)!]!)
const parameterOf = (parameter: Parameter | { $ref: string }): Parameter =>
  '$ref' in parameter ? document.components.parameters![parameter.$ref.split('/').at(-1)!]! : parameter

function propertiesOf(schema: Schema): [string, Schema][] {
  const { properties = {}, anyOf = [], oneOf = [], allOf = [] } = resolve(schema)
  return [...Object.entries(properties), ...[...anyOf, ...oneOf, ...allOf].flatMap(propertiesOf)]
}

function isText(schema: Schema): boolean {
  const { type, anyOf = [], oneOf = [] } = resolve(schema)
  return [type].flat().includes('string') || [...anyOf, ...oneOf].some(isText)
}

function casesOf(template: string, { parameters = [], requestBody }: Described): Case[] {
  const known = parameters.map(parameterOf)
  const path = template.replaceAll(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? uuid)
  const json = requestBody?.content['application/json']
  const example = { ...(json?.example as Record<string, unknown> | undefined) }
  const body = json ? { body: JSON.stringify(example) } : {}
  const cases: Case[] = []
  for (const { name, in: place } of known) {
    for (const [about, value] of Object.entries({ ...addressed, ...sizes })) {
      const what = { about: `${about} as ${name}`, ...body }
      if (place === 'path') cases.push({ ...what, path: replacedIn(template, name, value) })
      if (place === 'query') cases.push({ ...what, path: `${path}?${name}=${value.replaceAll('+', '%2B')}` })
      // The header itself takes no NUL; how long to wait is no text to look up.
      if (place === 'header' && value === long && name !== 'prefer')
        cases.push({ ...what, path, headers: { [name]: value } })
    }
  }
  if (!json) return cases
  const fields = new Set(Object.keys(example).filter((name) => typeof example[name] === 'string'))
  for (const [name, schema] of propertiesOf(json.schema)) if (isText(schema)) fields.add(name)
  for (const name of fields) {
    for (const [about, value] of Object.entries(written))
      cases.push({ about: `${about} as ${name}`, path, body: JSON.stringify({ ...example, [name]: value }) })
  }
  return cases
}

const replacedIn = (template: string, name: string, value: string) =>
  template.replaceAll(/\{(\w+)\}/g, (_, other: string) => (other === name ? value : (ids[other] ?? uuid)))

const isStream = ({ responses }: Described) =>
  Object.values(responses).some(({ content = {} }) => 'text/event-stream' in content)
const operations = Object.entries(document.paths)
  .flatMap(([path, item]) => Object.entries(item).map(([method, node]) => ({ method, path, node })))
  .filter(({ node }) => !isStream(node))
  .map(({ method, path, node }) => ({ id: node.operationId, method, cases: casesOf(path, node) }))
  .filter(({ cases }) => cases.length > 0)
  // What is there is needed until the end.
  .toSorted((a, b) => Number(a.method === 'delete') - Number(b.method === 'delete'))

test('a refusal names the places, all of them', async () => {
  const query = await app.get('/api/workflows?limit=0&q=a%00')
  expect([query.status, await query.json()]).toMatchObject([422, { errors: [{ pointer: '/query/limit' }] }])
  const text = await app.get('/api/workflows?q=a%00')
  expect([text.status, await text.json()]).toMatchObject([422, { errors: [{ pointer: '/query/q' }] }])
  const body = await app.post('/api/agents', { name: 'a\0', description: '\0', system_prompt: 'You answer.', tools: 7 })
  const { errors } = (await body.json()) as { errors: { pointer: string }[] }
  expect([body.status, errors.map(({ pointer }) => pointer).toSorted()]).toEqual([
    422,
    ['/description', '/name', '/tools'],
  ])
  expect((await app.get('/api/agents/a%00')).status).toBe(404)
})

test('a value that is kept as JSON may hold any character', async () => {
  const prompt = await app.post(`/api/agents/${ids['agent']}/execute`, { prompt: 'a\0b', context: { note: '\0' } })
  expect(prompt.status).toBe(202)
  const event = await app.post('/api/events', { name: 'order.paid', payload: 'a\0b' })
  expect(event.status).toBe(202)
  const input = await app.post('/api/workflow-recipes/morning-digest/execute', { input_data: { note: 'a\0b' } })
  expect(input.status).toBe(202)
})

test('there is something to walk over', () => {
  expect(operations.length).toBeGreaterThan(90)
})

test.each(operations)('$id refuses what is hostile, and is not broken by it', async ({ method, cases }) => {
  const broken: string[] = []
  for (const { about, path, headers = {}, body } of cases) {
    const response = await app.app.request(path, {
      method: method.toUpperCase(),
      headers: {
        authorization: `Bearer ${app.key}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body }),
    })
    if (response.status < 500) {
      await response.body?.cancel()
      continue
    }
    const { type } = (await response.json()) as { type: string }
    if (!/\/problems\/(model-)?not-configured$/.test(type)) broken.push(`${about}: ${response.status} ${type}`)
  }
  expect(broken, JSON.stringify(app.logged.filter(({ level }) => level === 'error').at(-1))).toEqual([])
})
