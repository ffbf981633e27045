import type { ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import {
  ApiError,
  createAutomatos,
  followExecution,
  paginate,
  UnreachableError,
  waitForExecution,
  type ExecutionEvent,
  type FollowOptions,
} from '../../clients/typescript/src/index.ts'
import { loopbackServer } from '../support/loopback-server.ts'

const id = '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f'
const created_at = '2026-11-22T08:00:00.000Z'
const text = (seq: number) => ({ seq, type: 'text.delta', data: { path: 'a', text: `${seq}` }, created_at })
const end = (seq: number) => ({ seq, type: 'execution.succeeded', data: {}, created_at })
const wire = (event: { seq: number; type: string }) =>
  `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`

type Answer = (response: ServerResponse) => void
const stream =
  (...parts: string[]): Answer =>
  (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const part of parts) response.write(part)
  }
const ended =
  (...parts: string[]): Answer =>
  (response) => {
    stream(...parts)(response)
    response.end()
  }
/** Events that a reader has been given. */
class Received {
  readonly #waiting = new Map<number, () => void>()
  note(seq: number): void {
    this.#waiting.get(seq)?.()
  }
  until(seq: number): Promise<void> {
    return new Promise((resolve) => this.#waiting.set(seq, resolve))
  }
}
/** Hangs up in mid-body once the last event has been read: what stands unread when a connection breaks, fetch may drop. */
const broken =
  (received: Received, ...events: { seq: number; type: string }[]): Answer =>
  (response) => {
    void received.until(events.at(-1)!.seq).then(() => response.socket?.destroy())
    stream(...events.map(wire))(response)
  }
const problem =
  (status: number, kind: string, headers: Record<string, string> = {}): Answer =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/problem+json', ...headers })
    response.end(
      JSON.stringify({ type: `/problems/${kind}`, title: kind, status, detail: `It is ${kind}.`, request_id: 'r1' }),
    )
  }
const execution =
  (status: string): Answer =>
  (response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ id, status }))
  }

/** A server that gives these answers in turn. */
async function serverOf(...answers: Answer[]) {
  const { port, seen } = await loopbackServer((_, response) => answers.shift()!(response))
  const api = createAutomatos({ baseUrl: `http://127.0.0.1:${port}/`, apiKey: 'ak_srv_test' })
  return { api, seen }
}

async function follow(
  api: Parameters<typeof followExecution>[0],
  options: FollowOptions = {},
  received = new Received(),
): Promise<number[]> {
  const seen: ExecutionEvent[] = []
  for await (const event of followExecution(api, id, { reconnectDelayMs: 1, ...options })) {
    seen.push(event)
    received.note(event.seq)
  }
  return seen.map(({ seq }) => seq)
}

test('the events come until the one that ends the run, with the key as Bearer token', async () => {
  const { api, seen } = await serverOf(stream(': connected\n\n', wire(text(1)), wire(end(2)), wire(text(3))))
  expect(await follow(api)).toEqual([1, 2])
  expect(seen[0]).toMatchObject({
    url: `/api/executions/${id}/events`,
    headers: { authorization: 'Bearer ak_srv_test', accept: 'text/event-stream' },
  })
  expect(seen[0]!.headers['last-event-id']).toBeUndefined()
})

test('a broken connection is taken up behind the last event, and none comes twice', async () => {
  const received = new Received()
  const { api, seen } = await serverOf(
    broken(received, text(1), text(2)),
    problem(503, 'unavailable'),
    ended(wire(text(2)), wire(text(3))),
    ended('event: error\ndata: {"detail":"The stream broke off."}\n\n'),
    ended(wire(end(4))),
  )
  const failures: string[] = []
  expect(await follow(api, { onReconnect: (error) => failures.push(error.message) }, received)).toEqual([1, 2, 3, 4])
  expect(seen.map(({ headers }) => headers['last-event-id'])).toEqual([undefined, '2', '2', '3', '3'])
  expect(failures).toHaveLength(4)
  expect(failures[1]).toBe('It is unavailable.')
})

test('whoever has all of a run that has ended is done', async () => {
  const { api, seen } = await serverOf(ended(), (response) => response.writeHead(204).end())
  expect(await follow(api, { lastEventId: 9 })).toEqual([])
  expect(seen.map(({ headers }) => headers['last-event-id'])).toEqual(['9', '9'])
})

test('what does not exist is not asked for again', async () => {
  const { api, seen } = await serverOf(problem(404, 'not-found'))
  const failure = await follow(api).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(ApiError)
  expect(failure).toMatchObject({ status: 404, kind: 'not-found', message: 'It is not-found.', requestId: 'r1' })
  expect(seen).toHaveLength(1)
})

test('a failure that will not pass ends it, also after a connection that broke', async () => {
  const received = new Received()
  const { api, seen } = await serverOf(broken(received, text(1)), problem(401, 'unauthenticated'))
  await expect(follow(api, {}, received)).rejects.toMatchObject({ status: 401 })
  expect(seen).toHaveLength(2)
})

test('only failures without a new event between them count', async () => {
  const received = new Received()
  const { api } = await serverOf(
    broken(received, text(1)),
    broken(received, text(2)),
    broken(received, text(3)),
    stream(wire(end(4))),
  )
  expect(await follow(api, { reconnects: 1 }, received)).toEqual([1, 2, 3, 4])
})

test('it gives up after as many failures in a row as it may make', async () => {
  const received = new Received()
  const away = problem(503, 'unavailable')
  const { api, seen } = await serverOf(broken(received, text(1)), away, away)
  await expect(follow(api, { reconnects: 2 }, received)).rejects.toMatchObject({ status: 503 })
  expect(seen).toHaveLength(3)
})

test('nothing that listens is an error of its own, at once', async () => {
  const api = createAutomatos({ baseUrl: 'http://127.0.0.1:9' })
  await expect(follow(api)).rejects.toBeInstanceOf(UnreachableError)
  await expect(api.listRecipes()).rejects.toMatchObject({ url: 'http://127.0.0.1:9/api/workflow-recipes' })
})

test('an abort ends it with its reason, while it reads and while it waits to connect again', async () => {
  const reason = new Error('enough')
  const reading = new AbortController()
  const first = await serverOf(stream(wire(text(1))))
  const events = followExecution(first.api, id, { signal: reading.signal })
  expect((await events.next()).value).toMatchObject({ seq: 1 })
  const next = events.next()
  reading.abort(reason)
  await expect(next).rejects.toBe(reason)

  const waiting = new AbortController()
  const received = new Received()
  const limited = problem(429, 'rate-limited', { 'retry-after': '3600' })
  const second = await serverOf(broken(received, text(1)), limited)
  const onReconnect = (_: Error, delayMs: number) => {
    if (delayMs >= 3_600_000) waiting.abort(reason)
  }
  const failing = follow(second.api, { signal: waiting.signal, onReconnect }, received)
  await expect(failing).rejects.toBe(reason)
})

test('waiting gives the execution as it is at its end', async () => {
  const { api } = await serverOf(execution('running'), stream(wire(end(1))), execution('succeeded'))
  expect((await waitForExecution(api, id)).status).toBe('succeeded')
  const { api: other } = await serverOf(execution('canceled'))
  expect((await waitForExecution(other, id)).status).toBe('canceled')
})

test('a credential may be a function, and pages follow one another', async () => {
  const page =
    (items: number[], next_cursor: string | null): Answer =>
    (response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ items, next_cursor }))
    }
  const answers = [page([1, 2], 'more'), page([3], null)]
  const { port, seen } = await loopbackServer((_, response) => answers.shift()!(response))
  let token = 0
  const api = createAutomatos({ baseUrl: `http://127.0.0.1:${port}`, apiKey: async () => `token-${++token}` })
  const items = []
  for await (const item of paginate((cursor) => api.listRecipes({ query: { cursor } }))) items.push(item)
  expect(items).toEqual([1, 2, 3])
  expect(seen.map(({ url, headers }) => [url, headers.authorization])).toEqual([
    ['/api/workflow-recipes', 'Bearer token-1'],
    ['/api/workflow-recipes?cursor=more', 'Bearer token-2'],
  ])
})

test('an answer that is no problem document is an error with its status and text', async () => {
  const { api } = await serverOf((response) => response.writeHead(502, 'Bad Gateway').end('<h1>proxy</h1>'))
  await expect(api.getHealth()).rejects.toMatchObject({
    message: 'The server answered 502 Bad Gateway',
    kind: null,
    body: '<h1>proxy</h1>',
  })
})
