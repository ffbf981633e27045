import { expect, test, vi } from 'vitest'
import { assemble } from '../../src/app.ts'
import { operation, type RouteGroup } from '../../src/lib/operation.ts'
import { ApiMetrics } from '../../src/services/metrics/api-metrics.ts'
import { createTestApp, testConfig } from '../support/app.ts'
import { things } from '../support/things.ts'

const { runtime, logged } = await createTestApp()

/** A stream that the test feeds by hand. */
function handFed() {
  let controller!: ReadableStreamDefaultController<Uint8Array>
  let cancelled: unknown
  const body = new ReadableStream<Uint8Array>({
    start: (given) => void (controller = given),
    cancel: (reason) => void (cancelled = reason ?? 'left'),
  })
  const group: RouteGroup = {
    prefix: '/s',
    tag: 'S',
    description: 'S',
    operations: [
      operation({ operationId: 's', method: 'get', path: '/', summary: 's', access: 'public', responses: {} }, () => ({
        status: 200,
        contentType: 'text/event-stream',
        body,
      })),
    ],
  }
  return {
    group,
    send: (text: string) => controller.enqueue(new TextEncoder().encode(text)),
    end: () => controller.close(),
    fail: (error: Error) => controller.error(error),
    wasCancelled: () => cancelled,
    /** Room that the reader's side has left: 1 = everything that was sent has been taken. */
    wanted: () => controller.desiredSize ?? 0,
  }
}

function appWith(group: RouteGroup) {
  const closes: string[] = []
  const waited: Promise<unknown>[] = []
  const metrics = new ApiMetrics()
  const open = () => Promise.resolve({ runtime, close: async () => void closes.push('closed') })
  const app = assemble(testConfig(), open, [group], metrics)
  const waiter = { waitUntil: (work: Promise<unknown>) => void waited.push(work) }
  const get = (path: string, method = 'GET') =>
    app.fetch(new Request(`http://localhost${path}`, { method }), {}, waiter)
  return { get, closes, waited, metrics }
}

test('a stream reaches the reader piece by piece, and the runtime is closed only when it has ended', async () => {
  const feed = handFed()
  const { get, closes, waited, metrics } = appWith(feed.group)
  const reader = (await get('/s')).body!.getReader()
  feed.send('one')
  expect(new TextDecoder().decode((await reader.read()).value)).toBe('one')
  expect([closes.length, metrics.inFlight]).toEqual([0, 1])
  feed.end()
  expect((await reader.read()).done).toBe(true)
  await Promise.all(waited)
  expect([closes.length, waited.length, metrics.inFlight]).toEqual([1, 1, 0])
})

test('a client that leaves ends the stream at its source and closes the runtime', async () => {
  const feed = handFed()
  const { get, closes, metrics } = appWith(feed.group)
  const response = await get('/s')
  await response.body!.cancel('gone')
  expect(feed.wasCancelled()).toBe('gone')
  expect([closes.length, metrics.inFlight, metrics.slots()[0]!.errorCount]).toEqual([1, 0, 0])
})

test('a client that leaves while a piece waits for it ends the stream too', async () => {
  const feed = handFed()
  feed.send('unread')
  const { get, closes, metrics } = appWith(feed.group)
  const response = await get('/s')
  // The piece has been taken from the source and lies unread, so no reading is under way that could notice.
  await vi.waitFor(() => expect(feed.wanted()).toBeGreaterThan(0))
  await response.body!.cancel()
  expect([closes.length, metrics.inFlight]).toEqual([1, 0])
})

test('a stream that breaks is logged with its id, counted as an error, and closes the runtime', async () => {
  const feed = handFed()
  const { get, closes, metrics } = appWith(feed.group)
  const response = await get('/s')
  feed.fail(new Error('the model went away'))
  await expect(response.text()).rejects.toThrow()
  expect(logged.at(-1)).toMatchObject({
    level: 'error',
    fields: { request_id: response.headers.get('x-request-id'), error: expect.stringContaining('the model went away') },
  })
  expect([closes.length, metrics.inFlight]).toEqual([1, 0])
  expect(metrics.slots()[0]).toMatchObject({ callCount: 1, errorCount: 1, failedStreams: 1 })
})

test('HEAD of a stream ends it at once', async () => {
  const feed = handFed()
  const { get, closes } = appWith(feed.group)
  expect((await get('/s', 'HEAD')).headers.get('content-type')).toBe('text/event-stream')
  expect(feed.wasCancelled()).toBeDefined()
  expect(closes).toHaveLength(1)
})

test('an answer without a stream closes its runtime too, whatever its status', async () => {
  const { get, closes, metrics } = appWith(things)
  for (const path of ['/api/things/open', '/api/things', '/api/things/broken', '/nowhere']) await get(path)
  expect([closes.length, metrics.inFlight]).toEqual([4, 0])
})
