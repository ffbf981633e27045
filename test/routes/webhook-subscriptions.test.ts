import { expect, test } from 'vitest'
import { eventTypes } from '../../src/services/webhook-subscriptions.service.ts'
import { resealAll } from '../../src/services/sealing/reseal.ts'
import { createCipher } from '../../src/runtime/cipher.ts'
import { openSecrets } from '../../src/services/subscriptions/secrets.ts'
import { createTestApp } from '../support/app.ts'

const { signIn, db } = await createTestApp()
type Body = { [key: string]: any }
const json = async (response: Response) => (await response.json()) as Body
const base = '/api/webhooks/subscriptions'
const url = 'https://hooks.example.com/automatos'
const pointersOf = async (response: Response) =>
  ((await json(response))['errors'] as { pointer: string }[]).map(({ pointer }) => pointer)

test('a subscription is made with its defaults, read, changed and deleted; its secret is told once', async () => {
  const client = await signIn()
  const created = await client.post(base, { url })
  expect(created.status).toBe(201)
  expect(created.headers.get('cache-control')).toBe('no-store')
  const { secret, ...made } = await json(created)
  expect(secret).toMatch(/^whsec_/)
  expect(made).toMatchObject({ name: 'hooks.example.com', events: ['*'], recipe_id: null, active: true, failures: 0 })
  const path = created.headers.get('location')!
  expect(path).toBe(`${base}/${made['id']}`)
  expect(await json(await client.get(path))).toEqual(made)
  expect((await json(await client.get(base)))['items']).toEqual([made])
  const changed = await client.patch(
    path,
    { events: ['execution.failed'] },
    { 'if-match': created.headers.get('etag')! },
  )
  expect(await json(changed)).toMatchObject({ url, events: ['execution.failed'] })
  expect((await client.patch(path, {}, { 'if-match': created.headers.get('etag')! })).status).toBe(412)
  const row = await db.selectFrom('webhook_subscriptions').selectAll().where('id', '=', made['id']).executeTakeFirst()
  expect(JSON.stringify(row)).not.toContain(secret)
  expect((await client.del(path)).status).toBe(204)
  expect((await client.get(path)).status).toBe(404)
})

test('faults are told by pointer', async () => {
  const client = await signIn()
  expect(await pointersOf(await client.post(base, { url: 'ftp://a.example/' }))).toEqual(['/url'])
  expect(await pointersOf(await client.post(base, { url: 'https://u:p@a.example/' }))).toEqual(['/url'])
  expect(await pointersOf(await client.post(base, { url, events: ['execution.succeeded', 'nothing'] }))).toEqual([
    '/events/1',
  ])
  expect(await pointersOf(await client.post(base, { url, secret: 'this is no secret' }))).toEqual(['/secret'])
  expect((await client.post(base, { url, recipe_id: 'nowhere' })).status).toBe(404)
})

test('the types of events are listed', async () => {
  const client = await signIn()
  const { items } = await json(await client.get(`${base}/event-types`))
  expect(items.map((item: Body) => item['type'])).toEqual(eventTypes)
  expect(eventTypes).toContain('execution.failed')
})

test('another workspace finds none of it, and a key without the permission makes none', async () => {
  const owner = await signIn()
  const { id } = await json(await owner.post(base, { url }))
  const stranger = await signIn()
  for (const answer of [
    await stranger.get(`${base}/${id}`),
    await stranger.patch(`${base}/${id}`, {}),
    await stranger.del(`${base}/${id}`),
    await stranger.get(`${base}/${id}/deliveries`),
    await stranger.post(`${base}/${id}/test`),
    await stranger.post(`${base}/${id}/rotate-secret`),
  ])
    expect(answer.status).toBe(404)
  const reader = await signIn({ workspace: owner.workspaceId, scopes: ['webhooks:read'] })
  expect((await reader.get(`${base}/${id}`)).status).toBe(200)
  expect((await reader.post(base, { url })).status).toBe(403)
})

test('a rotation of the key ring seals every secret of webhooks anew', async () => {
  const client = await signIn()
  const made = await json(await client.post(base, { url }))
  await client.post(`${base}/${made['id']}/rotate-secret`)
  const ring = `next:${btoa('1'.repeat(32))},test:${btoa('0'.repeat(32))}`
  const report = await resealAll({ db, cipher: createCipher(ring) }, 'next')
  expect(report.failed).toEqual([])
  expect(report.resealed).toBeGreaterThanOrEqual(2)
  const row = await db
    .selectFrom('webhook_subscriptions')
    .selectAll()
    .where('id', '=', made['id'])
    .executeTakeFirstOrThrow()
  const nextAlone = createCipher(`next:${btoa('1'.repeat(32))}`)
  const [, previous] = await openSecrets(nextAlone, 'webhook_subscriptions', { ...row, has_previous: true })
  expect(previous).toBe(made['secret'])
  expect(await resealAll({ db, cipher: createCipher(ring) }, 'next')).toEqual({ resealed: 0, failed: [] })
})
