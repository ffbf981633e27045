import { expect, test } from 'vitest'
import { createTestApp } from '../support/app.ts'

const { signIn } = await createTestApp()
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
