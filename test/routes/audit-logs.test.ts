import { expect, test } from 'vitest'
import { recordAudit } from '../../src/services/audit/record.ts'
import { createTestApp } from '../support/app.ts'

const { signIn, db } = await createTestApp()
type Body = { [key: string]: any }
const json = async (response: Response) => (await response.json()) as Body
const path = '/api/audit-logs'

test('an act is in the log with who did it, in which request, from where, and what changed', async () => {
  const client = await signIn()
  const made = await json(await client.post('/api/agents', { name: 'Scout' }, { 'x-request-id': 'the-request' }))
  await client.patch(`/api/agents/${made['id']}`, { name: 'Ranger' })
  await client.del(`/api/agents/${made['id']}`)
  const { items } = await json(await client.get(path))
  expect(items.map(({ action }: Body) => action)).toEqual(['agent.deleted', 'agent.updated', 'agent.created'])
  expect(items[2]).toMatchObject({
    seq: 1,
    actor: { kind: 'key', id: client.keyId },
    target: { type: 'agent', id: made['id'] },
    request_id: 'the-request',
    after: { name: 'Scout' },
    redacted: [],
  })
  expect(items[2].client_address).toEqual(expect.any(String))
  expect(items[1]).toMatchObject({ before: { name: 'Scout' }, after: { name: 'Ranger' } })
  expect(items[1].after).not.toHaveProperty('slug')
  const one = await client.get(`${path}/${items[0].id}`)
  expect(await json(one)).toEqual(items[0])
})

test('an act that is refused is not in it', async () => {
  const client = await signIn()
  const first = await client.post('/api/agents', { name: 'One', slug: 'one' })
  expect(first.status).toBe(201)
  expect((await client.post('/api/agents', { name: 'Two', slug: 'one' })).status).toBe(409)
  expect((await client.patch('/api/agents/one', { name: 'Three' }, { 'if-match': '"other"' })).status).toBe(412)
  expect((await json(await client.get(path)))['items']).toHaveLength(1)
})

test('it is filtered by actor, action, target and time, and read page by page', async () => {
  const client = await signIn()
  const other = await signIn({ workspace: client.workspaceId })
  for (const slug of ['one', 'two', 'three']) await client.post('/api/agents', { name: slug, slug })
  expect((await other.del('/api/agents/one')).status).toBe(204)
  const actions = async (query: string) =>
    (await json(await client.get(`${path}?${query}`)))['items'].map(({ action }: Body) => action)
  expect(await actions(`actor_id=${other.keyId}`)).toEqual(['agent.deleted'])
  expect(await actions('action=agent.created')).toHaveLength(3)
  const { items } = await json(await client.get(`${path}?limit=1`))
  expect(await actions(`target_id=${items[0].target.id}`)).toEqual(['agent.deleted', 'agent.created'])
  expect(await actions('target_type=recipe')).toEqual([])
  expect(await actions('since=2100-01-01T00:00:00Z')).toEqual([])
  expect(await actions('until=2100-01-01T00:00:00Z')).toHaveLength(4)

  const seen: number[] = []
  for (let cursor = ''; ;) {
    const page = await json(await client.get(`${path}?limit=3${cursor && `&cursor=${cursor}`}`))
    seen.push(...page['items'].map(({ seq }: Body) => seq))
    if (page['next_cursor'] === null) break
    cursor = encodeURIComponent(page['next_cursor'])
  }
  expect(seen).toEqual([4, 3, 2, 1])
})

test('another workspace sees nothing of it, and neither does who may not read it', async () => {
  const client = await signIn()
  await client.post('/api/agents', { name: 'Scout' })
  const { items } = await json(await client.get(path))
  const stranger = await signIn()
  expect((await json(await stranger.get(path)))['items']).toEqual([])
  expect((await stranger.get(`${path}/${items[0].id}`)).status).toBe(404)
  expect(await json(await stranger.get(`${path}/verify`))).toMatchObject({ valid: true, checked: 0, head: null })
  const editor = await signIn({ workspace: client.workspaceId, scopes: ['agents:read', 'agents:write'] })
  for (const at of ['', '/verify', '/export', `/${items[0].id}`])
    expect((await editor.get(`${path}${at}`)).status, at).toBe(403)
})

test('it verifies over HTTP, and a forged entry is found', async () => {
  const client = await signIn()
  for (const name of ['a', 'b', 'c']) await client.post('/api/agents', { name })
  const whole = await json(await client.get(`${path}/verify`))
  expect(whole).toMatchObject({ valid: true, complete: true, checked: 3, head: { seq: 3 }, broken: null })
  const known = `known_seq=3&known_hash=${whole['head'].hash}`
  expect(await json(await client.get(`${path}/verify?${known}`))).toMatchObject({ valid: true })
  await db
    .updateTable('audit_logs')
    .set({ action: 'agent.deleted' })
    .where('workspace_id', '=', client.workspaceId)
    .where('seq', '=', 2)
    .execute()
  expect(await json(await client.get(`${path}/verify`))).toMatchObject({
    valid: false,
    to_seq: 1,
    broken: { seq: 2, kind: 'changed' },
  })
})

test('the export is the whole log, oldest first, and no cell of it is a formula', async () => {
  const client = await signIn()
  const actor = {
    kind: 'key',
    id: client.keyId,
    workspaceId: client.workspaceId,
    permissions: new Set<never>(),
  } as const
  for (const id of ['=HYPERLINK("http://evil.example")', '+1', '-1', '@SUM(A1)', '\t=1', 'plain "quoted", text'])
    await recordAudit(db, { actor }, { action: 'thing.made', target: { type: 'thing', id } })
  // More than a page of what the export holds at a time.
  await db.transaction().execute(async (tx) => {
    for (let n = 0; n < 600; n++)
      await recordAudit(tx, { actor }, { action: 'thing.made', target: { type: 'thing', id: 'x' } })
  })

  const lines = (await (await client.get(`${path}/export`)).text()).trim().split('\n')
  expect(lines.map((line) => (JSON.parse(line) as Body)['seq'])).toEqual(Array.from({ length: 606 }, (_, n) => n + 1))

  const csv = await client.get(`${path}/export?format=csv&target_type=thing`)
  expect(csv.headers.get('content-type')).toContain('text/csv')
  const text = await csv.text()
  expect(text).toContain(`"'=HYPERLINK(""http://evil.example"")"`)
  expect(text).toContain(`"plain ""quoted"", text"`)
  const cells = [...text.matchAll(/"((?:[^"]|"")*)"/g)].map(([, cell]) => cell!)
  expect(cells.filter((cell) => /^\s*[=+\-@]/.test(cell))).toEqual([])
})
