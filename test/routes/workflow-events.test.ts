import { afterAll, beforeEach, expect, test } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import { createTestApp, testConfig, type Client } from '../support/app.ts'
import { startProviderServer } from '../support/provider-server.ts'
import { workOff } from '../support/workflows.ts'

const provider = await startProviderServer()
afterAll(() => provider.close())
const { openaiApiKey, openaiBaseUrl } = parseConfig({ ENVIRONMENT: 'test', ...provider.env })
const config = { ...testConfig(), openaiApiKey, openaiBaseUrl, llmProvider: 'offline' as const, llmModel: 'offline' }
const app = await createTestApp({ config })
/** Another process on the same database. */
const replica = await createTestApp({ config, database: app.database })
beforeEach(() => void (provider.requests.length = 0))

interface Event {
  id: string | null
  type: string
  purpose?: string
  plan?: number | null
  execution_id?: string
  data: { status?: string; [key: string]: unknown }
}
const says = (...plans: object[]) =>
  provider.script(...plans.map((plan) => ({ kind: 'answer' as const, text: [JSON.stringify(plan)] })))
const plan = (...steps: object[]) => ({ name: 'Scripted', steps })
const value = (id: string) => ({ id, kind: 'transform', value: id })
/** Fails as a step that may be done in another way. */
const failing = { id: 'broken', kind: 'http', request: { method: 'GET', url: 'http://127.0.0.1:9/' } }
async function aWorkflow(client: Client, more: object = {}): Promise<string> {
  const model = { provider: 'openai', model: 'scripted' }
  const response = await client.post('/api/workflows', {
    goal: 'Read http://127.0.0.1:9/ or do without.',
    approval: 'auto',
    model,
    ...more,
  })
  expect(response.status, await response.clone().text()).toBe(202)
  return ((await response.json()) as { id: string }).id
}
const eventsIn = (text: string): Event[] =>
  [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data!) as Event)
const follow = (by: Client, id: string, lastId?: string, on = app) =>
  on.app.request(`/api/workflows/${id}/events`, {
    headers: { authorization: `Bearer ${by.key}`, ...(lastId !== undefined && { 'last-event-id': lastId }) },
  })
const idsIn = (text: string) => [...text.matchAll(/^id: (.*)$/gm)].map(([, id]) => id!)

async function aReplannedOne(client: Client): Promise<string> {
  says(
    plan({ id: 'a', kind: 'llm', prompt: '{{ steps.b.output }}' }),
    plan(value('first'), failing),
    plan(value('second')),
  )
  const id = await aWorkflow(client)
  await workOff(app.runtime)
  return id
}

test('a workflow tells of all its executions as one stream, refused plans and those for the rest included', async () => {
  const client = await app.signIn()
  const id = await aReplannedOne(client)
  const text = await (await follow(client, id)).text()
  const events = eventsIn(text)
  const runs = [...new Map(events.filter((e) => e.execution_id).map((e) => [e.execution_id, e])).values()]
  expect(runs.map(({ purpose, plan: number }) => [purpose, number])).toEqual([
    ['plan', 1],
    ['plan', 1],
    ['run', 1],
    ['plan', 2],
    ['run', 2],
  ])
  const ids = idsIn(text)
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids[0]).toBe('1.1')
  expect(ids.at(-1)).toBe('end')
  expect(events.at(-1)).toEqual({
    id: 'end',
    type: 'workflow.status',
    data: { status: 'succeeded', plan: 2, attention: [], error: null },
  })
  // Each run from its first event to its end, and no event of the next before that.
  for (const [n, run] of runs.entries()) {
    const its = events.filter(({ execution_id }) => execution_id === run.execution_id)
    expect(its.map((event) => event.id)).toEqual(its.map((_, seq) => `${n + 1}.${seq + 1}`))
    expect(its.at(-1)!.type).toBe(n === 2 ? 'execution.failed' : 'execution.succeeded')
  }
})

test('goes on behind any event that a client has, on any replica, with neither a gap nor a repeat', async () => {
  const client = await app.signIn()
  const id = await aReplannedOne(client)
  const ids = idsIn(await (await follow(client, id)).text())
  for (const [index, last] of ids.slice(0, -1).entries())
    expect(idsIn(await (await follow(client, id, last, replica)).text()), last).toEqual(ids.slice(index + 1))
  expect((await follow(client, id, 'end', replica)).status).toBe(204)
})

test('is the same while it happens as afterwards, across an approval, a new plan and a client that comes back', async () => {
  const client = await app.signIn()
  says(plan(value('first'), failing), plan(value('second')))
  const id = await aWorkflow(client, { approval: 'required' })
  const seen: Event[] = []
  let response = await follow(client, id, undefined, replica)
  let reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  const readUntil = async (found: (event: Event) => boolean): Promise<void> => {
    for (;;) {
      const end = rest.indexOf('\n\n')
      if (end < 0) {
        const { value: more, done } = await reader.read()
        if (done) throw new Error('The stream is over.')
        rest += more
        continue
      }
      const [event] = eventsIn(rest.slice(0, end))
      rest = rest.slice(end + 2)
      if (!event) continue
      seen.push(event)
      if (found(event)) return
    }
  }
  const standsAt = (status: string) => (event: Event) => event.data.status === status
  const approve = async () => {
    expect((await client.post(`/api/workflows/${id}/approve`)).status).toBe(200)
    await workOff(app.runtime)
  }
  await readUntil(standsAt('planning'))
  await workOff(app.runtime)
  await readUntil(standsAt('awaiting_approval'))
  // Here the connection breaks, and the client comes back to another process.
  await reader.cancel()
  rest = ''
  response = await follow(client, id, seen.findLast((event) => event.id)!.id!, app)
  reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  await approve()
  await readUntil((event) => event.type === 'execution.failed')
  await readUntil((event) => standsAt('awaiting_approval')(event) && event.data['plan'] === 2)
  await approve()
  await readUntil(standsAt('succeeded'))
  const ids = seen.flatMap((event) => event.id ?? [])
  expect(ids).toEqual(idsIn(await (await follow(client, id)).text()))
})

test('ends with a workflow that is canceled while it waits for approval, and with one that is deleted', async () => {
  const client = await app.signIn()
  for (const last of ['cancel', 'delete']) {
    says(plan(value('first')))
    const id = await aWorkflow(client, { approval: 'required' })
    await workOff(app.runtime)
    const stream = (await follow(client, id)).text()
    if (last === 'cancel') expect((await client.post(`/api/workflows/${id}/cancel`)).status).toBe(200)
    else expect((await client.del(`/api/workflows/${id}`, { 'if-match': '*' })).status).toBe(204)
    const ends = eventsIn(await stream).filter(({ id: each }) => each === 'end')
    expect(ends).toMatchObject(last === 'cancel' ? [{ data: { status: 'canceled' } }] : [])
  }
})

test('is open to its workspace, by a key or a ticket, and to nobody else', async () => {
  const client = await app.signIn()
  const id = await aReplannedOne(client)
  expect((await follow(await app.signIn(), id)).status).toBe(404)
  const { url } = (await (await client.post(`/api/workflows/${id}/events/ticket`)).json()) as { url: string }
  const { pathname, search } = new URL(url)
  expect((await app.app.request(pathname + search)).status).toBe(200)
  expect((await app.app.request(pathname)).status).toBe(401)
  expect((await client.get(`/api/workflows/${id}/events?last_event_id=x`)).status).toBe(422)
  expect((await follow(client, crypto.randomUUID())).status).toBe(404)
})
