import { describe, expect, test } from 'vitest'
import { createTestApp } from '../support/app.ts'

const { get, post, patch, del, signIn } = await createTestApp()

type Body = Record<string, unknown>
interface Resource {
  name: string
  /** Makes one and answers its path. */
  make(): Promise<string>
  /** A change that differs with `n`; null where the resource can only be read and deleted. */
  change: ((n: number) => Body) | null
  deletable: boolean
}

const made = async (path: string, body: Body) => {
  const response = await post(path, body)
  const { id } = (await response.json()) as { id: string }
  expect(response.status).toBe(201)
  expect(response.headers.get('etag')).toMatch(/^"/)
  return `${path}/${id}`
}
let count = 0
const recipe = () => ({ name: `Recipe ${count++}`, steps: [{ id: 'one', kind: 'transform', value: 1 }] })

const resources: Resource[] = [
  {
    name: 'an agent',
    make: () => made('/api/agents', { name: `Agent ${count++}` }),
    change: (n) => ({ description: `Change ${n}` }),
    deletable: true,
  },
  {
    name: 'a budget',
    async make() {
      const agent = await made('/api/agents', { name: `Agent ${count++}` })
      const scope = { type: 'agent', id: agent.split('/').at(-1) }
      return made('/api/budgets', { scope, limit_usd: '1', window: 'day' })
    },
    change: (n) => ({ limit_usd: String(n + 1) }),
    deletable: true,
  },
  {
    name: 'a recipe',
    make: () => made('/api/workflow-recipes', recipe()),
    change: (n) => ({ description: `Change ${n}` }),
    deletable: true,
  },
  {
    name: 'a recipe with its schedule',
    make: () => made('/api/workflow-recipes', { ...recipe(), cron_schedule: '0 7 * * *' }),
    change: (n) => ({ cron_schedule: `${n} 8 * * *` }),
    deletable: true,
  },
  {
    name: 'a schedule',
    async make() {
      const path = await made('/api/workflow-recipes', recipe())
      return made('/api/schedules', { recipe_id: path.split('/').at(-1), cron: '0 7 * * *' })
    },
    change: (n) => ({ cron: `${n} 8 * * *` }),
    deletable: true,
  },
  {
    name: 'the workspace',
    make: async () => '/api/workspaces/current',
    change: (n) => ({ name: `Workspace ${n} ${count++}` }),
    deletable: false,
  },
  {
    name: 'an API key',
    make: () => made('/api/api-keys', { name: 'A key' }),
    change: null,
    deletable: true,
  },
  {
    name: 'a credential',
    make: () =>
      made('/api/credentials', {
        slug: `credential-${count++}`,
        kind: 'bearer',
        hosts: ['api.example.com'],
        fields: { token: 'secret' },
      }),
    change: null,
    deletable: true,
  },
]
const named = (list: Resource[]) => list.map((resource) => [resource.name, resource] as const)
const etagOf = (response: Response) => {
  const etag = response.headers.get('etag')
  expect(etag).toMatch(/^"[0-9a-f.]+"$/)
  return etag!
}

describe.each(named(resources))('%s', (_, { make, change, deletable }) => {
  test('is 304 while the copy is good, with the same tag and no body', async () => {
    const path = await make()
    const etag = etagOf(await get(path))
    const again = await get(path, { 'if-none-match': `"other", W/${etag}` })
    expect(again.status).toBe(304)
    expect(await again.text()).toBe('')
    expect(again.headers.get('etag')).toBe(etag)
    expect(again.headers.get('content-type')).toBeNull()
    expect((await get(path, { 'if-none-match': '"other"' })).status).toBe(200)
  })

  test.runIf(change)('gets another tag with each change, and an edit of an old state is 412', async () => {
    const path = await make()
    const first = etagOf(await get(path))
    const changed = await patch(path, change!(1), { 'if-match': first })
    expect(changed.status).toBe(200)
    const second = etagOf(changed)
    expect(second).not.toBe(first)
    expect(etagOf(await get(path))).toBe(second)
    expect((await get(path, { 'if-none-match': first })).status).toBe(200)

    const before = await (await get(path)).json()
    const stale = await patch(path, change!(2), { 'if-match': first })
    expect(stale.status).toBe(412)
    expect(await stale.json()).toMatchObject({ type: '/problems/precondition-failed' })
    expect(etagOf(stale)).toBe(second)
    expect(await (await get(path)).json()).toEqual(before)
    for (const ifMatch of [second, '*']) {
      expect((await patch(path, change!(3), { 'if-match': ifMatch })).status).toBe(200)
    }
    expect((await patch(path, change!(4))).status, 'no If-Match').toBe(200)
  })

  test.runIf(change)('lets exactly one of twenty edits of one state through', async () => {
    const path = await make()
    const etag = etagOf(await get(path))
    const edits = Array.from({ length: 20 }, (_unused, n) => patch(path, change!(n + 10), { 'if-match': etag }))
    const statuses = (await Promise.all(edits)).map(({ status }) => status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(1)
    expect(statuses.filter((status) => status === 412)).toHaveLength(19)
  })

  test.runIf(deletable)('is deleted only in the state that was seen', async () => {
    const path = await make()
    const etag = etagOf(await get(path))
    expect((await del(path, { 'if-match': '"other"' })).status).toBe(412)
    expect((await get(path)).status).toBe(200)
    expect((await del(path, { 'if-match': etag })).status).toBe(204)
  })

  test.runIf(deletable)("answers a stranger's If-Match as one for what never existed", async () => {
    const path = await make()
    const stranger = await signIn()
    for (const ifMatch of ['*', '"other"', 'nonsense']) {
      expect((await stranger.del(path, { 'if-match': ifMatch })).status).toBe(404)
    }
  })
})

test('a version of a recipe never changes, and its copy stays good', async () => {
  const path = await made('/api/workflow-recipes', recipe())
  const etag = etagOf(await get(`${path}/versions/1`))
  await patch(path, { description: 'Later' })
  expect((await get(`${path}/versions/1`, { 'if-none-match': etag })).status).toBe(304)
  expect((await get(`${path}/versions/2`, { 'if-none-match': etag })).status).toBe(200)
})

test('pausing and restoring ask for the state that was seen, too', async () => {
  const recipePath = await made('/api/workflow-recipes', recipe())
  const recipeTag = etagOf(await get(recipePath))
  await patch(recipePath, { description: 'Later' })
  expect((await post(`${recipePath}/versions/1/restore`, undefined, { 'if-match': recipeTag })).status).toBe(412)
  expect((await post(`${recipePath}/versions/1/restore`, undefined, { 'if-match': '*' })).status).toBe(200)

  const path = await made('/api/schedules', { recipe_id: recipePath.split('/').at(-1), cron: '0 7 * * *' })
  const etag = etagOf(await get(path))
  const paused = await post(`${path}/pause`, undefined, { 'if-match': etag })
  expect(paused.status).toBe(200)
  expect((await post(`${path}/resume`, undefined, { 'if-match': etag })).status).toBe(412)
  expect((await post(`${path}/resume`, undefined, { 'if-match': etagOf(paused) })).status).toBe(200)
})
