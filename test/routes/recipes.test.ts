import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { createDocument } from '../../src/lib/openapi/document.ts'
import { recipeExportRoutes } from '../../src/routes/recipe-export.routes.ts'
import { recipesRoutes } from '../../src/routes/recipes.routes.ts'
import { schemasRoutes } from '../../src/routes/schemas.routes.ts'
import { createTestApp } from '../support/app.ts'

const { get, post, patch, put, del, signIn, app } = await createTestApp({
  groups: [recipesRoutes, recipeExportRoutes, schemasRoutes],
})
const base = '/api/workflow-recipes'
const value = (n: number) => [{ id: 'a', kind: 'transform', value: n }]
const named = (more: object = {}) => ({ name: `Recipe ${crypto.randomUUID()}`, steps: value(1), ...more })
const create = async (more: object = {}) => {
  const response = await post(base, named(more))
  expect(response.status).toBe(201)
  return (await response.json()) as { id: string; slug: string; version: number; cron_schedule: string | null }
}

test('a recipe is created, found by id and by slug, and listed', async () => {
  const response = await post(base, named({ name: 'Morning digest', description: 'Ten headlines' }))
  expect(response.status).toBe(201)
  expect(response.headers.get('location')).toBe(`${base}/morning-digest`)
  const made = await response.json()
  expect(made).toEqual({
    id: expect.any(String),
    slug: 'morning-digest',
    name: 'Morning digest',
    description: 'Ten headlines',
    version: 1,
    inputs: null,
    steps: value(1),
    settings: null,
    cron_schedule: null,
    timezone: null,
    next_slots: [],
    created_at: expect.stringMatching(/Z$/),
    updated_at: expect.stringMatching(/Z$/),
  })
  for (const ref of [made.id, made.slug]) expect(await (await get(`${base}/${ref}`)).json()).toEqual(made)
  const { items } = await (await get(`${base}?q=headLINES`)).json()
  expect(items).toEqual([expect.objectContaining({ slug: 'morning-digest', version: 1 })])
  expect(items[0]).not.toHaveProperty('steps')
})

test('lists page through without loss, and a wildcard in a search is a letter', async () => {
  const other = await signIn()
  for (let i = 0; i < 5; i++) await other.post(base, named({ name: `Page ${i}` }))
  const names: string[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const page = (await (await other.get(`${base}?limit=2${cursor && `&cursor=${cursor}`}`)).json()) as {
      items: { name: string }[]
      next_cursor: string | null
    }
    names.push(...page.items.map((item) => item.name))
    cursor = page.next_cursor
  }
  expect(names).toEqual(['Page 4', 'Page 3', 'Page 2', 'Page 1', 'Page 0'])
  expect((await (await other.get(`${base}?q=%25`)).json()).items).toEqual([])
})

test('a bad definition is refused with every fault at its place', async () => {
  const response = await post(base, {
    steps: [{ id: 'a', kind: 'transform', value: 1, retry: { max_attempts: 21 } }],
    cron_schedule: 'often',
    timezone: 7,
  })
  expect(response.status).toBe(422)
  expect(response.headers.get('content-type')).toContain('application/problem+json')
  expect((await response.json()).errors).toEqual([
    { pointer: '/name', detail: 'is required' },
    { pointer: '/steps/0/retry/max_attempts', detail: 'must be at most 20' },
    { pointer: '/timezone', detail: 'must be the name of a time zone such as Europe/Vienna' },
  ])
})

test('an expression of a schedule is checked with the definition', async () => {
  const response = await post(base, { ...named(), steps: [], cron_schedule: 'every monday' })
  const pointers = ((await response.json()).errors as { pointer: string }[]).map((fault) => fault.pointer)
  expect(pointers).toEqual(['/steps', '/cron_schedule'])
})

test.each<[string, unknown, boolean]>([
  ['a recipe', named(), true],
  ['a recipe with a schedule', named({ cron_schedule: '0 7 * * *', timezone: 'Europe/Vienna' }), true],
  ['a bad recipe', { name: 7 }, false],
  ['a list', [], false],
  ['a text', 'recipe', false],
  ['null', null, false],
  ['a bad zone', named({ cron_schedule: '0 7 * * *', timezone: 'Mars/Base' }), false],
])('validate answers 200 for %s, and writes nothing', async (_, body, valid) => {
  const other = await signIn()
  const response = await other.post(`${base}/validate`, body)
  expect(response.status).toBe(200)
  const verdict = await response.json()
  expect(verdict.valid).toBe(valid)
  expect(verdict.errors.length > 0).toBe(!valid)
  expect((await (await other.get(base)).json()).items).toEqual([])
})

test('validate warns of agents and credentials that do not exist yet', async () => {
  const steps = [
    { id: 'a', kind: 'agent', agent: 'nobody', prompt: 'x' },
    { id: 'b', kind: 'http', request: { method: 'GET', url: 'https://x.example' }, auth: { credential: 'nothing' } },
  ]
  expect(await (await post(`${base}/validate`, named({ steps }))).json()).toEqual({
    valid: true,
    errors: [],
    warnings: [
      { pointer: '/steps/0/agent', detail: 'there is no agent nobody yet' },
      { pointer: '/steps/1/auth/credential', detail: 'there is no credential nothing yet' },
    ],
  })
})

test('validate warns of fields that have no effect where they stand', async () => {
  const steps = [
    {
      id: 'each',
      kind: 'foreach',
      items: [1],
      as: 'item',
      retry: { max_attempts: 3 },
      steps: [{ id: 'pause', kind: 'wait', duration: '1s', timeout: '5s' }],
    },
  ]
  expect((await (await post(`${base}/validate`, named({ steps }))).json()).warnings).toEqual([
    { pointer: '/steps/0/retry', detail: 'has no effect on a step of kind foreach; put it on the steps inside' },
    { pointer: '/steps/0/steps/0/timeout', detail: 'has no effect on a step of kind wait' },
  ])
})

test('validate warns of a step that may wait for good for another recipe under a limit', async () => {
  const under = { settings: { concurrency: { limit: 1 } } }
  const two = await create(under)
  const free = await create()
  const call = (recipe: string, more: object = {}) => [{ id: 'call', kind: 'recipe', recipe, ...more }]
  const warned = async (more: object) => {
    const { warnings } = await (await post(`${base}/validate`, named(more))).json()
    return (warnings as { pointer: string }[]).map(({ pointer }) => pointer)
  }
  expect(await warned({ ...under, steps: call(two.slug) })).toEqual(['/steps/0'])
  expect(await warned({ ...under, steps: call(two.id) })).toEqual(['/steps/0'])
  expect(await warned({ ...under, steps: call(two.slug, { timeout: '5m' }) })).toEqual([])
  expect(await warned({ settings: { ...under.settings, timeout: '1h' }, steps: call(two.slug) })).toEqual([])
  expect(await warned({ ...under, steps: call(free.slug) })).toEqual([])
  expect(await warned({ steps: call(two.slug) })).toEqual([])
})

test('a changed definition is the next version, an equal one is not', async () => {
  const { slug } = await create({ settings: { timeout: '1h', on_failure: { log: true } } })
  const versionAfter = async (body: object, send = patch) =>
    ((await (await send(`${base}/${slug}`, body)).json()) as { version: number }).version
  expect(await versionAfter({ steps: value(2) })).toBe(2)
  expect(await versionAfter({ steps: value(2) })).toBe(2)
  expect(await versionAfter({ description: 'New' }, put)).toBe(3)
  expect(await versionAfter({ settings: { timeout: '2h' } })).toBe(4)
  expect((await (await get(`${base}/${slug}`)).json()).settings).toEqual({ timeout: '2h', on_failure: { log: true } })
  expect(await versionAfter({ settings: null, description: null })).toBe(5)
  expect(await (await get(`${base}/${slug}`)).json()).toMatchObject({
    settings: null,
    description: null,
    steps: value(2),
  })
})

test('a patch that would break the recipe changes nothing', async () => {
  const { slug } = await create()
  const response = await patch(`${base}/${slug}`, { name: 'New', steps: null, color: 'red' })
  expect(response.status).toBe(422)
  expect((await response.json()).errors.map((fault: { pointer: string }) => fault.pointer).toSorted()).toEqual([
    '/color',
    '/steps',
  ])
  expect(await (await get(`${base}/${slug}`)).json()).toMatchObject({ version: 1, steps: value(1) })
})

test('a slug that is taken is a conflict on create and on rename, and names count up', async () => {
  const { slug } = await create({ name: 'Twice', slug: 'twice' })
  expect((await post(base, named({ slug }))).status).toBe(409)
  expect((await create({ name: 'Twice' })).slug).toBe('twice-2')
  expect((await create({ name: 'Twice' })).slug).toBe('twice-3')
  expect((await patch(`${base}/twice-3`, { slug })).status).toBe(409)
  expect((await (await patch(`${base}/twice-3`, { slug: 'thrice' })).json()).version).toBe(1)
  expect((await get(`${base}/twice-3`)).status).toBe(404)
})

test('versions are listed, read, compared, restored', async () => {
  const { slug, id } = await create()
  await patch(`${base}/${slug}`, { steps: [...value(2), { id: 'b', kind: 'transform', value: 3 }] })
  await patch(`${base}/${slug}`, { name: 'Third' })
  const { items } = await (await get(`${base}/${slug}/versions?limit=2`)).json()
  expect(items.map((item: { version: number }) => item.version)).toEqual([3, 2])
  expect(await (await get(`${base}/${slug}/versions/1`)).json()).toMatchObject({
    recipe_id: id,
    version: 1,
    definition: { steps: value(1) },
  })
  expect(await (await get(`${base}/${slug}/diff?from=1&to=2`)).json()).toEqual({
    from: 1,
    to: 2,
    changes: [
      { op: 'replace', pointer: '/steps/0/value', from: 1, to: 2 },
      { op: 'add', pointer: '/steps/1', to: { id: 'b', kind: 'transform', value: 3 } },
    ],
  })
  const restored = await (await post(`${base}/${slug}/versions/1/restore`)).json()
  expect(restored).toMatchObject({ version: 4, slug, steps: value(1) })
  expect((await (await get(`${base}/${slug}/diff?from=1`)).json()).changes).toEqual([])
  const rest = await (await get(`${base}/${slug}/versions?limit=2`)).json()
  const last = await (await get(`${base}/${slug}/versions?limit=2&cursor=${rest.next_cursor}`)).json()
  expect(last).toMatchObject({ items: [{ version: 2 }, { version: 1 }], next_cursor: null })
})

test('what is exported can be created in another workspace', async () => {
  const made = await create({ output: null, inputs: { type: 'object' }, cron_schedule: '0 7 * * *' })
  const exported = await get(`${base}/${made.slug}/export`)
  expect(exported.headers.get('content-disposition')).toBe(`attachment; filename="${made.slug}.recipe.json"`)
  const definition = await exported.json()
  expect(Object.keys(definition)).toEqual(['name', 'slug', 'inputs', 'steps', 'output'])
  const other = await signIn()
  expect((await other.post(base, definition)).status).toBe(201)
  expect(await (await other.get(`${base}/${made.slug}/export`)).json()).toEqual(definition)
})

test('the YAML file says the same, and a link opens either', async () => {
  const made = await create({
    description: 'yes\n- no: "1e3"\n',
    output: { when: '2026-01-01', flag: 'on', none: null },
  })
  const path = `${base}/${made.slug}/export`
  const json = await get(path)
  const yaml = await get(`${path}?format=yaml`)
  expect(yaml.headers.get('content-type')).toBe('application/yaml')
  expect(yaml.headers.get('content-disposition')).toBe(`attachment; filename="${made.slug}.recipe.yaml"`)
  expect(yaml.headers.get('etag')).not.toBe(json.headers.get('etag'))
  const again = await get(`${path}?format=yaml`, { 'if-none-match': yaml.headers.get('etag')! })
  expect([again.status, await again.text()]).toEqual([304, ''])
  const definition = await json.json()
  expect(parse(await yaml.text())).toEqual(definition)

  const { url } = (await (await post(`${path}/link?format=yaml`)).json()) as { url: string }
  const linked = await app.request(url)
  expect([linked.status, parse(await linked.text())]).toEqual([200, definition])
  expect((await get(`${path}?format=xml`)).status).toBe(422)
})

test('cron_schedule makes, changes and removes the default schedule, and belongs to no version', async () => {
  const { slug } = await create({ cron_schedule: '0 7 * * *', timezone: 'Europe/Vienna' })
  const read = async () => (await get(`${base}/${slug}`)).json()
  const first = await read()
  expect(first).toMatchObject({ cron_schedule: '0 7 * * *', timezone: 'Europe/Vienna', version: 1 })
  expect(first.next_slots).toHaveLength(5)
  await patch(`${base}/${slug}`, { cron_schedule: '30 8 * * *' })
  expect(await read()).toMatchObject({ cron_schedule: '30 8 * * *', timezone: 'Europe/Vienna', version: 1 })
  await patch(`${base}/${slug}`, { timezone: 'UTC' })
  expect(await read()).toMatchObject({ cron_schedule: '30 8 * * *', timezone: 'UTC', version: 1 })
  const { items } = await (await get(`${base}?q=${slug}`)).json()
  expect(items[0]).toMatchObject({ cron_schedule: '30 8 * * *', timezone: 'UTC' })
  expect(await (await patch(`${base}/${slug}`, { cron_schedule: null })).json()).toMatchObject({
    cron_schedule: null,
    timezone: null,
    next_slots: [],
  })
  expect((await patch(`${base}/${slug}`, { timezone: 'UTC' })).status).toBe(422)
})

test('a deleted recipe is gone for everyone and its slug is free again', async () => {
  const { slug, id } = await create()
  expect((await del(`${base}/${slug}`)).status).toBe(204)
  for (const ref of [slug, id]) expect((await get(`${base}/${ref}`)).status).toBe(404)
  expect((await del(`${base}/${id}`)).status).toBe(404)
  expect((await create({ slug })).slug).toBe(slug)
})

test('every operation on a foreign recipe answers as on none', async () => {
  const { id, slug } = await create()
  const stranger = await signIn()
  const missing = crypto.randomUUID()
  for (const [method, path, body] of [
    ['GET', ''],
    ['PATCH', '', { name: 'Mine' }],
    ['PUT', '', { name: 'Mine' }],
    ['DELETE', ''],
    ['GET', '/versions'],
    ['GET', '/versions/1'],
    ['POST', '/versions/1/restore'],
    ['GET', '/diff?from=1'],
    ['GET', '/export'],
  ] as const) {
    const answers = await Promise.all(
      [id, missing].map((ref) => stranger.request(method, `${base}/${ref}${path}`, body)),
    )
    const [foreign, none] = await Promise.all(
      answers.map(async (answer) => [answer.status, await answer.text()] as const),
    )
    expect(foreign![0], `${method} ${path}`).toBe(404)
    expect(foreign![1].replaceAll(id, missing).replace(/"request_id":"[^"]*"/, '')).toBe(
      none![1].replace(/"request_id":"[^"]*"/, ''),
    )
  }
  expect(await (await get(`${base}/${slug}`)).json()).toMatchObject({ version: 1 })
})

test('reading does not allow writing, and no key allows nothing', async () => {
  const reader = await signIn({ scopes: ['recipes:read'] })
  expect((await reader.get(base)).status).toBe(200)
  expect((await reader.post(`${base}/validate`, {})).status).toBe(200)
  expect((await reader.post(base, named())).status).toBe(403)
  for (const path of [base, `${base}/x`, `${base}/x/export`]) expect((await app.request(path)).status).toBe(401)
})

test.each(['0', '-1', '1.5', 'latest', '99999999999'])('%s is no version', async (version) => {
  const { slug } = await create()
  expect((await get(`${base}/${slug}/versions/${version}`)).status).toBe(422)
})

test.each<[string, () => Promise<Response>, number]>([
  ['NUL as a slug', () => get(`${base}/%00`), 404],
  ['NUL in a search', () => get(`${base}?q=a%00`), 422],
  ['NUL in a name', () => post(base, named({ name: 'a\u0000b' })), 422],
  ['NUL in a description', () => post(base, named({ description: '\u0000' })), 422],
  ['half a character in a name', () => post(base, named({ name: 'a\ud800' })), 201],
  ['NUL in a step', () => post(base, named({ steps: [{ id: 'a', kind: 'transform', value: '\u0000' }] })), 201],
  ['a long reference', () => get(`${base}/${'a'.repeat(101)}`), 422],
  ['null', () => post(base, null), 422],
  ['a list', () => patch(`${base}/x`, []), 422],
  [
    'a definition of 300 KB',
    () => post(base, named({ steps: [{ id: 'a', kind: 'transform', value: 'x'.repeat(300_000) }] })),
    422,
  ],
  ['a body of 11 MB', () => post(base, named({ description: 'x'.repeat(11_000_000) })), 413],
])('%s is answered, not stumbled over', async (_, send, status) => {
  expect((await send()).status).toBe(status)
})

test('a version that does not exist is not found', async () => {
  const { slug } = await create()
  expect((await get(`${base}/${slug}/versions/2`)).status).toBe(404)
  expect((await get(`${base}/${slug}/diff?from=1&to=2`)).status).toBe(404)
  expect((await post(`${base}/${slug}/versions/2/restore`)).status).toBe(404)
})

test('/schemas/recipe.json is public, valid, and agrees with what is accepted', async () => {
  const response = await app.request('/schemas/recipe.json')
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('application/schema+json')
  const schema = await response.json()
  expect(schema.$id).toBe('/schemas/recipe.json')
  const check = new Ajv2020({ strict: false, formats: { uri: true } }).compile(schema)
  expect(check({ ...named(), $schema: 'https://host.example/schemas/recipe.json' })).toBe(true)
  expect(check(named({ steps: [{ id: 'a', kind: 'magic' }] }))).toBe(false)
  expect(check(named({ steps: [{ id: 'a', kind: 'wait' }] }))).toBe(false)
  expect(check(named({ color: 1 }))).toBe(false)
})

test('the OpenAPI document holds each operation with an example of its answer', () => {
  const document = createDocument([recipesRoutes, recipeExportRoutes, schemasRoutes], 'http://localhost')
  const operations = Object.values(document.paths ?? {}).flatMap((path) =>
    Object.values(
      path as Record<
        string,
        { operationId: string; responses: Record<string, { content?: Record<string, { example?: unknown }> }> }
      >,
    ),
  )
  expect(operations).toHaveLength(14)
  for (const { operationId, responses } of operations) {
    const [answer] = Object.entries(responses).filter(([status]) => status.startsWith('2'))
    if (answer![0] === '204') continue
    const [content] = Object.values(answer![1].content ?? {})
    expect(content?.example, operationId).toBeDefined()
  }
})
