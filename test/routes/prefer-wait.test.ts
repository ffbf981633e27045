import { serve, type ServerType } from '@hono/node-server'
import { expect, onTestFinished, test } from 'vitest'
import { eventHub } from '../../src/services/runs/event-hub.ts'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { createTestApp, type Client } from '../support/app.ts'

const owner = await createTestApp()
const { post, get, runtime } = owner

const double = {
  name: 'Double',
  inputs: { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] },
  steps: [{ id: 'twice', kind: 'transform', value: { $expr: '10 / input.n' } }],
}
let count = 0
async function aRecipe(client: Client = owner): Promise<string> {
  const slug = `double-${count++}`
  expect((await client.post('/api/workflow-recipes', { ...double, slug })).status).toBe(201)
  return `/api/workflow-recipes/${slug}/execute`
}
async function work() {
  await runsService.tick(runtime)
  await engineOf(runtime).idle()
}
/** Resolves when somebody waits for a run: its log is followed. */
function followed(): Promise<void> {
  const hub = eventHub(runtime)
  const follow = hub.follow.bind(hub)
  return new Promise((resolve) => {
    hub.follow = (...args) => {
      hub.follow = follow
      resolve()
      return follow(...args)
    }
  })
}
const body = { input_data: { n: 5 } }
const wait = (seconds = 30) => ({ prefer: `wait=${seconds}` })

test('answers 200 with the whole execution when it ends in time', async () => {
  const path = await aRecipe()
  const waiting = followed()
  const answer = post(path, body, wait())
  await waiting
  await work()
  const response = await answer
  expect(response.status).toBe(200)
  expect(response.headers.get('preference-applied')).toBe('wait=30')
  const execution = (await response.json()) as { id: string }
  expect(execution).toMatchObject({ status: 'succeeded', output: 2, steps: [{ path: 'twice' }] })
  expect(response.headers.get('location')).toBe(`/api/executions/${execution.id}`)
})

test('a run that fails in time has ended in time', async () => {
  const path = await aRecipe()
  const waiting = followed()
  const answer = post(path, { input_data: { n: 0 } }, wait())
  await waiting
  await work()
  const response = await answer
  expect([response.status, await response.json()]).toMatchObject([200, { status: 'failed', output: null }])
})

test('answers 202 with its place when the time is up, and the run goes on', async () => {
  const response = await post(await aRecipe(), body, wait(1))
  expect(response.status).toBe(202)
  expect(response.headers.get('preference-applied')).toBeNull()
  const location = response.headers.get('location')!
  expect(await response.json()).toMatchObject({ status: 'queued' })
  await work()
  expect(await (await get(location)).json()).toMatchObject({ status: 'succeeded' })
})

test.each(['respond-async', 'wait', 'wait=soon', ';;;'])('does not wait for %j', async (prefer) => {
  const response = await post(await aRecipe(), body, { prefer })
  expect(response.status).toBe(202)
  expect(response.headers.get('preference-applied')).toBeNull()
})

test('a repeated request answers the end of the run that it made before', async () => {
  const path = await aRecipe()
  const key = { 'idempotency-key': 'order-1' }
  const first = (await (await post(path, body, key)).json()) as { id: string }
  await work()
  const again = await post(path, body, { ...key, ...wait() })
  expect([again.status, await again.json()]).toMatchObject([200, { id: first.id, output: 2 }])
})

test('waits for an agent as well', async () => {
  await post('/api/agents', { name: 'Helper', slug: 'helper' })
  const waiting = followed()
  const answer = post('/api/agents/helper/execute', { prompt: 'Hello' }, wait())
  await waiting
  await work()
  const response = await answer
  expect([response.status, await response.json()]).toMatchObject([200, { status: 'succeeded' }])
})

test('who may not read executions is told of none', async () => {
  const path = await aRecipe()
  const starter = await owner.signIn({ workspace: owner.workspaceId, scopes: ['recipes:execute'] })
  const key = { 'idempotency-key': 'order-2' }
  expect((await starter.post(path, body, { ...key, ...wait() })).status).toBe(202)
  await work()
  const again = await starter.post(path, body, { ...key, ...wait() })
  expect(again.status).toBe(202)
  expect(await again.json()).not.toHaveProperty('output')
})

test('a shutdown ends the wait with 202', async () => {
  const shutdown = new AbortController()
  const stopping = await createTestApp({ database: owner.database, runtime: { shutdown: shutdown.signal } })
  const path = await aRecipe(stopping)
  const waiting = followed()
  const answer = stopping.post(path, body, wait(60))
  await waiting
  shutdown.abort()
  expect((await answer).status).toBe(202)
  expect((await stopping.post(path, body, wait(60))).status, 'one that comes afterwards').toBe(202)
})

test('a client that leaves ends the wait at once, and never the run', async () => {
  const answers: (Response | Promise<Response>)[] = []
  let server: ServerType
  const origin = await new Promise<string>((resolve) => {
    const fetch = (request: Request) => {
      const answer = owner.app.fetch(request)
      answers.push(answer)
      return answer
    }
    server = serve({ fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => resolve(`http://127.0.0.1:${port}`))
  })
  onTestFinished(() => new Promise((resolve) => void server.close(() => resolve())))
  const path = await aRecipe()
  const waiting = followed()
  const client = new AbortController()
  const request = fetch(origin + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${owner.key}`, 'content-type': 'application/json', ...wait(60) },
    body: JSON.stringify(body),
    signal: client.signal,
  })
  await waiting
  client.abort()
  await expect(request).rejects.toThrow()
  const answer = await answers[0]!
  expect(answer.status).toBe(202)
  await work()
  expect(await (await get(answer.headers.get('location')!)).json()).toMatchObject({ status: 'succeeded' })
})
