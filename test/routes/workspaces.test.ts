import { expect, test } from 'vitest'
import { createTestApp } from '../support/app.ts'
import { createIdentityProvider } from '../support/jwks-server.ts'
import { signInUser } from '../support/user.ts'

const provider = await createIdentityProvider()
const users = await createTestApp({ config: provider.config })
const { signIn } = users
const json = async (response: Response) => (await response.json()) as { [key: string]: any }
const model = { provider: 'openai', model: 'gpt-5-mini' }

test('a key sees its own workspace and no other', async () => {
  const [mine, theirs] = [await signIn(), await signIn()]
  const { items, next_cursor } = await json(await mine.get('/api/workspaces'))
  expect([items.map(({ id }: { id: string }) => id), next_cursor]).toEqual([[mine.workspaceId], null])
  expect((await json(await theirs.get('/api/workspaces/current')))['id']).toBe(theirs.workspaceId)
})

test('name and settings change one by one; null removes a setting', async () => {
  const client = await signIn()
  const named = await json(await client.patch('/api/workspaces/current', { name: 'Ours' }))
  expect([named['name'], named['settings']]).toEqual(['Ours', {}])
  const set = await json(await client.patch('/api/workspaces/current', { settings: { model } }))
  expect([set['name'], set['settings']]).toEqual(['Ours', { model }])
  expect((await json(await client.patch('/api/workspaces/current', {})))['settings']).toEqual({ model })
  await client.patch('/api/workspaces/current', { settings: { model: null } })
  expect((await json(await client.get('/api/workspaces/current')))['settings']).toEqual({})
})

test('a change touches no other workspace', async () => {
  const [mine, theirs] = [await signIn(), await signIn()]
  await mine.patch('/api/workspaces/current', { name: 'Mine' })
  expect((await json(await theirs.get('/api/workspaces/current')))['name']).toBe('A workspace')
})

test('unknown fields, settings and models that cannot be are refused', async () => {
  const client = await signIn()
  for (const body of [
    { name: '' },
    { slug: 'x' },
    { settings: { colour: 'red' } },
    { settings: { model: {} } },
    { settings: { model: 'gpt' } },
    { settings: { model: { ...model, temperature: 9 } } },
  ]) {
    expect((await client.patch('/api/workspaces/current', body)).status).toBe(422)
  }
})

test('reading needs workspaces:read, changing workspaces:manage; a stranger gets neither', async () => {
  const reader = await signIn({ scopes: ['workspaces:read'] })
  expect((await reader.get('/api/workspaces')).status).toBe(200)
  expect((await reader.get('/api/workspaces/current')).status).toBe(200)
  expect((await reader.patch('/api/workspaces/current', { name: 'x' })).status).toBe(403)
  const nobody = await signIn({ scopes: [] })
  expect((await nobody.get('/api/workspaces')).status).toBe(403)
  expect((await nobody.get('/api/workspaces/current')).status).toBe(403)
  expect((await reader.get('/api/workspaces', { authorization: `Bearer ak_srv_${'0'.repeat(64)}` })).status).toBe(401)
})

test('a user makes workspaces, owns them, and sees those where somebody let them in, each with the role', async () => {
  const [user, other] = [await signInUser(users, provider), await signInUser(users, provider)]
  const personal = (await user.me()).workspace
  const response = await user.post('/api/workspaces', { name: 'Forschung & Lehre' })
  expect(response.status).toBe(201)
  const made = await json(response)
  expect(response.headers.get('location')).toBe(`/api/workspaces/${made['id']}`)
  expect(made['slug']).toMatch(/^forschung-lehre-[0-9a-f]{8}$/)
  const theirs = (await other.me()).workspace
  await users.db
    .insertInto('memberships')
    .values({ workspace_id: theirs.id, user_id: (await user.me()).user.id, role: 'viewer' })
    .execute()
  const { items } = await json(await user.get('/api/workspaces'))
  const seen = items.map(({ id, role }: { id: string; role: string }) => [id, role])
  expect(seen).toEqual([
    [theirs.id, 'viewer'],
    [made['id'], 'owner'],
    [personal.id, 'owner'],
  ])
  const page = await json(await user.get('/api/workspaces?limit=2'))
  const rest = await json(await user.get(`/api/workspaces?limit=2&cursor=${page['next_cursor']}`))
  expect([...page['items'], ...rest['items']]).toEqual(items)
  expect((await json(await other.get('/api/workspaces')))['items']).toHaveLength(1)
})

test('a workspace is read by id or slug by those who may see it', async () => {
  const [user, other] = [await signInUser(users, provider), await signInUser(users, provider)]
  const { id, slug } = (await user.me()).workspace
  for (const name of [id, id.toUpperCase(), slug]) {
    expect(await json(await user.get(`/api/workspaces/${name}`))).toMatchObject({ id, slug })
    expect((await other.get(`/api/workspaces/${name}`)).status).toBe(404)
    expect((await users.get(`/api/workspaces/${name}`)).status).toBe(404)
  }
  const own = await json(await users.get(`/api/workspaces/${users.workspaceId}`))
  expect([own['id'], 'role' in own]).toEqual([users.workspaceId, false])
})

test('a key makes no workspace, whatever it holds', async () => {
  expect((await (await signIn()).post('/api/workspaces', { name: 'More' })).status).toBe(403)
})

test('nobody chooses a slug, because a refusal would tell what others have', async () => {
  const user = await signInUser(users, provider)
  expect((await user.post('/api/workspaces', { name: 'x', slug: 'taken' })).status).toBe(422)
  expect((await user.post('/api/workspaces', { name: ' ' })).status).toBe(422)
})
