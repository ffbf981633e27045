import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { z } from '@hono/zod-openapi'
import { createApiDocument } from '../../src/app.ts'
import type { ServiceContext } from '../../src/context.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { operation, reply, type RouteGroup } from '../../src/lib/operation.ts'
import { createAgent } from '../../src/services/agents.service.ts'
import { forgetKeys } from '../../src/services/idempotency/expire.ts'
import { createTestApp, testConfig, type Client } from '../support/app.ts'

const app = await createTestApp()
const { signIn, db } = app
const newKey = () => ({ 'idempotency-key': `k-${uuidv7()}` })
const json = async (response: Response) => (await response.json()) as { [key: string]: any }
const agentsOf = async (client: Client) => (await json(await client.get('/api/agents')))['items'].length as number

test('a repeated request has its effect once and gets the first answer again', async () => {
  const client = await signIn()
  const key = newKey()
  const first = await client.post('/api/agents', { name: 'Helper' }, key)
  const again = await client.post('/api/agents', { name: 'Helper' }, key)
  expect([first.status, again.status]).toEqual([201, 201])
  expect(first.headers.get('idempotency-replayed')).toBeNull()
  expect(again.headers.get('idempotency-replayed')).toBe('true')
  for (const name of ['location', 'etag']) expect(again.headers.get(name)).toBe(first.headers.get(name))
  expect(await json(again)).toEqual(await json(first))
  expect(await agentsOf(client)).toBe(1)
})

test('without a key, and with another one, it is another request', async () => {
  const client = await signIn()
  for (const headers of [{}, {}, newKey(), newKey()])
    expect((await client.post('/api/agents', { name: 'Helper' }, headers)).status).toBe(201)
  expect(await agentsOf(client)).toBe(4)
})

test('of many at once one does the work; the others wait or get its answer', async () => {
  const client = await signIn()
  const key = newKey()
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => client.post('/api/agents', { name: 'Helper' }, key)),
  )
  expect(await agentsOf(client)).toBe(1)
  expect(answers.filter(({ status }) => status === 201).length).toBeGreaterThan(0)
  for (const answer of answers.filter(({ status }) => status !== 201)) {
    expect(answer.status).toBe(409)
    expect(answer.headers.get('retry-after')).toBe('1')
    expect(await json(answer)).toMatchObject({ type: '/problems/request-in-progress' })
  }
  expect((await client.post('/api/agents', { name: 'Helper' }, key)).status).toBe(201)
  expect(await agentsOf(client)).toBe(1)
})

test('the same key with another request is refused, and changes nothing', async () => {
  const client = await signIn()
  const key = newKey()
  await client.post('/api/agents', { name: 'Helper' }, key)
  const other = await client.post('/api/agents', { name: 'Another' }, key)
  expect(other.status).toBe(422)
  expect(await json(other)).toMatchObject({ type: '/problems/idempotency-key-reused' })
  expect(await agentsOf(client)).toBe(1)
})

test('a key is of one operation and of one workspace', async () => {
  const [client, stranger] = [await signIn(), await signIn()]
  const key = newKey()
  const agent = await json(await client.post('/api/agents', { name: 'Helper' }, key))
  const clone = await client.post(`/api/agents/${agent['id']}/clone`, {}, key)
  expect(clone.status).toBe(201)
  expect(clone.headers.get('idempotency-replayed')).toBeNull()
  const elsewhere = await stranger.post('/api/agents', { name: 'Other' }, key)
  expect(elsewhere.status).toBe(201)
  expect((await json(elsewhere))['id']).not.toBe(agent['id'])
})

test('what fails leaves the key free', async () => {
  const client = await signIn()
  const key = newKey()
  const body = { name: 'Helper', slug: 'helper' }
  const { id } = await json(await client.post('/api/agents', body))
  expect((await client.post('/api/agents', body, key)).status).toBe(409)
  expect((await client.del(`/api/agents/${id}`)).status).toBe(204)
  const retried = await client.post('/api/agents', body, key)
  expect([retried.status, retried.headers.get('idempotency-replayed')]).toEqual([201, null])
})

test('what a request that fails late has written is taken back with it', async () => {
  const fail = () => {
    throw new Error('late')
  }
  const failing = await createTestApp({ database: app.database, groups: [agentsThatFail(fail)] })
  expect((await failing.post('/late', { name: 'Never' }, newKey())).status).toBe(500)
  const rows = await db.selectFrom('agents').select('id').where('workspace_id', '=', failing.workspaceId).execute()
  expect(rows).toEqual([])
})

test('a request whose process is gone is taken up by the next one with its key', async () => {
  const client = await signIn()
  const key = newKey()
  const claimed = {
    workspace_id: client.workspaceId,
    operation: 'createAgent',
    key: key['idempotency-key'],
    fingerprint: 'of a request that never ended',
    owner: uuidv7(),
  }
  await db
    .insertInto('idempotency_keys')
    .values({ ...claimed, lease_until: sql<Date>`app_now() - interval '1 second'` })
    .execute()
  const answer = await client.post('/api/agents', { name: 'Helper' }, key)
  expect([answer.status, answer.headers.get('idempotency-replayed')]).toEqual([201, null])
})

test('who has lost its lease to another request writes nothing', async () => {
  const takeOver = async ({ db }: ServiceContext) => {
    await db.updateTable('idempotency_keys').set({ owner: uuidv7() }).execute()
  }
  const slow = await createTestApp({ groups: [agentsThatFail(takeOver)] })
  const answer = await slow.post('/late', { name: 'Never' }, newKey())
  expect([answer.status, await json(answer)]).toMatchObject([409, { type: '/problems/request-in-progress' }])
  expect(await slow.db.selectFrom('agents').select('id').execute()).toEqual([])
})

test('secrets are answered again, and are not in the row', async () => {
  const client = await signIn()
  const key = newKey()
  const body = { name: 'Mine', scopes: ['agents:read'] }
  const first = await json(await client.post('/api/api-keys', body, key))
  const again = await client.post('/api/api-keys', body, key)
  expect(again.headers.get('idempotency-replayed')).toBe('true')
  expect((await json(again))['key']).toBe(first['key'])
  const row = await db
    .selectFrom('idempotency_keys')
    .selectAll()
    .where('key', '=', key['idempotency-key'])
    .executeTakeFirstOrThrow()
  expect(JSON.stringify(row)).not.toContain(first['key'])
  // The answer is for whoever got it first: another key of the workspace gets none.
  const other = await signIn({ workspace: client.workspaceId })
  expect((await other.post('/api/api-keys', body, key)).status).toBe(422)
})

test('a run that is started again says so, and the run is the same', async () => {
  const client = await signIn()
  await client.post('/api/workflow-recipes', {
    name: 'One',
    slug: 'one',
    steps: [{ id: 'a', kind: 'transform', value: 1 }],
  })
  const key = newKey()
  const send = (body: object) => client.post('/api/workflow-recipes/one/execute', body, key)
  const [first, again] = [await send({ input_data: {} }), await send({ input_data: {} })]
  expect([first.headers.get('idempotency-replayed'), again.headers.get('idempotency-replayed')]).toEqual([null, 'true'])
  expect(await json(again)).toEqual(await json(first))
  const reused = await send({ input_data: { n: 1 } })
  expect([reused.status, await json(reused)]).toMatchObject([422, { type: '/problems/idempotency-key-reused' }])
})

test('a key is kept for 24 hours and not longer', async () => {
  const own = await createTestApp()
  await own.post('/api/workflow-recipes', {
    name: 'One',
    slug: 'one',
    steps: [{ id: 'a', kind: 'transform', value: 1 }],
  })
  const key = newKey()
  const create = () => own.post('/api/agents', { name: 'Helper' }, key)
  const start = async () => (await json(await own.post('/api/workflow-recipes/one/execute', {}, key)))['id'] as string
  const [, run] = [await create(), await start()]
  await own.database.shiftClock({ seconds: 24 * 3600 - 60 })
  expect(await forgetKeys(own.runtime)).toEqual({ done: 0, more: false })
  expect((await create()).headers.get('idempotency-replayed')).toBe('true')
  expect(await start()).toBe(run)
  await own.database.shiftClock({ seconds: 24 * 3600 + 60 })
  // Before the tick has come by it counts no more than after it.
  expect((await create()).headers.get('idempotency-replayed')).toBeNull()
  await own.db
    .updateTable('idempotency_keys')
    .set({ created_at: sql<Date>`app_now() - interval '25 hours'` })
    .execute()
  expect(await forgetKeys(own.runtime)).toEqual({ done: 2, more: false })
  expect(await own.db.selectFrom('idempotency_keys').selectAll().execute()).toEqual([])
  expect(await start()).not.toBe(run)
})

test.each(['ä', 'a b', 'x'.repeat(201)])('%j is no key', async (key) => {
  const response = await app.post('/api/agents', { name: 'Helper' }, { 'idempotency-key': key })
  expect([response.status, await json(response)]).toMatchObject([
    422,
    { errors: [{ pointer: '/headers/idempotency-key' }] },
  ])
})

interface Described {
  operationId: string
  parameters?: { name: string }[]
  responses: Record<string, { headers?: Record<string, unknown> }>
}

test('every operation that creates or starts something takes a key, and says so', () => {
  const paths = createApiDocument(testConfig()).paths as unknown as Record<string, Record<string, Described>>
  const posts = Object.values(paths).flatMap(({ post }) => (post ? [post] : []))
  const takesKey = ({ parameters = [] }: Described) => parameters.some(({ name }) => name === 'idempotency-key')
  const created = posts.filter(({ responses }) => '201' in responses)
  expect(created.length).toBeGreaterThan(8)
  for (const post of created) expect(takesKey(post), post.operationId).toBe(true)
  for (const post of posts.filter(takesKey)) {
    const success = Object.entries(post.responses).filter(([status]) => status.startsWith('2'))
    for (const [, { headers }] of success) expect(headers, post.operationId).toHaveProperty('Idempotency-Replayed')
  }
})

/** An operation that creates an agent and then does what a test wants. */
function agentsThatFail(late: (ctx: ServiceContext) => void | Promise<void>): RouteGroup {
  return {
    prefix: '/',
    tag: 'Late',
    description: 'For this test.',
    operations: [
      operation(
        {
          operationId: 'createLate',
          method: 'post',
          path: '/late',
          summary: 'Late',
          access: 'agents:write',
          body: z.object({ name: z.string() }),
          idempotent: 'stored',
          responses: { 201: { description: 'The agent.' } },
        },
        async (ctx, { body }) => {
          const agent = await createAgent(ctx, body)
          await late(ctx)
          return reply(201, agent)
        },
      ),
    ],
  }
}
