import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import type { Egress, EgressOptions } from '../../../src/context.ts'
import { EgressError } from '../../../src/lib/egress-error.ts'
import type { HttpStep } from '../../../src/services/recipes/definition.ts'
import { httpStep } from '../../../src/services/steps/http.step.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'
import { createStepContext } from '../../support/step-context.ts'

const database = await createTestDatabase()
let handle: (request: IncomingMessage, response: ServerResponse, body: string) => void
const server = createServer((request, response) => {
  let body = ''
  request.on('data', (chunk: Buffer) => (body += chunk.toString('utf8')))
  request.on('end', () => handle(request, response, body))
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await database.close()
})

const passed: (EgressOptions | undefined)[] = []
beforeEach(() => void (passed.length = 0))
/** Stands for the guard: what it refuses has tests of its own. */
const egress: Egress = async (request, options) => {
  passed.push(options)
  try {
    return await fetch(request, { signal: options?.signal ?? null })
  } catch (error) {
    if (options?.signal?.aborted) throw options.signal.reason
    throw new EgressError('egress-failed', 'The request failed.', { cause: error })
  }
}
const setUp = () => createServiceContext(database, { egress })
const step = (request: HttpStep['request'], more: Partial<HttpStep> = {}): HttpStep => ({
  kind: 'http',
  id: 'call',
  request,
  ...more,
})
const json = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}) =>
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))

describe('an http step', () => {
  test('sends what was rendered, keys in one order, and returns status, headers and parsed body, without cookies', async () => {
    const ctx = await setUp()
    let seen: { method?: string; url?: string; headers: IncomingMessage['headers']; body: string } | undefined
    handle = ({ method, url: path, headers }, response, body) => {
      seen = { method, url: path, headers, body } as typeof seen
      json(response, 201, { id: 7 }, { 'set-cookie': 'session=1', 'x-version': '3' })
    }
    const fake = createStepContext(ctx, { scope: { name: 'Ada', tags: ['a b', 'c'], nothing: null } })
    const output = await httpStep(
      step(
        {
          method: 'POST',
          url: `${url}/people/{{ name }}`,
          headers: { 'X-Name': '{{ name }}' },
          query: { tag: { $expr: 'tags' }, skip: { $expr: 'nothing' } },
          body: { person: { name: '{{ name }}', age: 7 } },
        },
        { auth: { credential: 'crm' } },
      ),
      fake.context,
    )
    expect(seen).toMatchObject({
      method: 'POST',
      url: '/people/Ada?tag=a+b&tag=c',
      body: '{"person":{"age":7,"name":"Ada"}}',
      headers: {
        'x-name': 'Ada',
        'content-type': 'application/json',
        'idempotency-key': 'run/1/step/0.0',
      },
    })
    expect(output).toMatchObject({ status: 201, body: { id: 7 }, headers: { 'x-version': '3' } })
    expect(JSON.stringify(output)).not.toContain('session=1')
    expect(passed[0]).toMatchObject({
      workspaceId: ctx.actor.workspaceId,
      credential: 'crm',
      maxResponseBytes: 10485760,
    })
    expect(fake.effects).toMatchObject([{ kind: 'http', committed: 'with the step' }])
  })

  test('sends texts as they are, forms as forms, and keeps an Idempotency-Key that the recipe sets', async () => {
    const ctx = await setUp()
    const seen: { type: string | undefined; key: unknown; body: string }[] = []
    handle = ({ headers }, response, body) => {
      seen.push({ type: headers['content-type'], key: headers['idempotency-key'], body })
      response.writeHead(204).end()
    }
    const send = (headers: Record<string, string>, body: HttpStep['request']['body']) =>
      httpStep(step({ method: 'PUT', url, headers, body }), createStepContext(ctx).context)
    expect(await send({}, 'plain')).toMatchObject({ status: 204, body: null })
    await send({ 'content-type': 'application/x-www-form-urlencoded' }, { a: 'x y', b: [1, 2] })
    await send({ 'Idempotency-Key': 'mine' }, [1])
    expect(seen).toEqual([
      { type: 'text/plain; charset=utf-8', key: 'run/1/step/0.0', body: 'plain' },
      { type: 'application/x-www-form-urlencoded', key: 'run/1/step/0.0', body: 'a=x+y&b=1&b=2' },
      { type: 'application/json', key: 'mine', body: '[1]' },
    ])
  })

  test.each([
    [404, false, null],
    [408, true, null],
    [425, true, null],
    [429, true, 2000],
    [500, true, null],
    [503, true, 2000],
  ])('fails on %i, retryable: %s', async (status, retryable, retryAfterMs) => {
    const ctx = await setUp()
    handle = (_request, response) =>
      json(response, status, {}, retryAfterMs === null ? {} : { 'retry-after': String(retryAfterMs / 1000) })
    const fake = createStepContext(ctx)
    await expect(httpStep(step({ method: 'GET', url }), fake.context)).rejects.toMatchObject({
      kind: 'http-status',
      status,
      retryable,
      retryAfterMs: retryAfterMs ?? undefined,
    })
    expect(fake.effects).toEqual([])
  })

  test('takes a status that the recipe accepts, whatever its form', async () => {
    const ctx = await setUp()
    handle = (_request, response) => response.writeHead(404, { 'content-type': 'text/plain' }).end('nothing here')
    const output = await httpStep(
      step({ method: 'GET', url }, { accept: [404], parse: 'json' }),
      createStepContext(ctx).context,
    )
    expect(output).toMatchObject({ status: 404, body: 'nothing here' })
  })

  test('says that a body has not the form that the recipe expects', async () => {
    const ctx = await setUp()
    handle = (_request, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>maintenance</p>')
    await expect(
      httpStep(step({ method: 'GET', url }, { parse: 'json' }), createStepContext(ctx).context),
    ).rejects.toMatchObject({ kind: 'http-parse', retryable: true })
  })

  test('tells a broken connection from a refusal of the guard, a time limit and an answer too large', async () => {
    const failWith = async (broken: Egress) => {
      const ctx = await createServiceContext(database, { egress: broken })
      return httpStep(step({ method: 'GET', url }), createStepContext(ctx).context)
    }
    handle = (_request, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('half')
      setImmediate(() => response.socket?.resetAndDestroy())
    }
    await expect(failWith(egress)).rejects.toMatchObject({ kind: 'http-network', retryable: true })
    const kinds = [
      ['egress-failed', 'http-network', true],
      ['egress-timeout', 'http-timeout', true],
      ['egress-refused', 'egress-refused', false],
      ['egress-too-large', 'http-too-large', false],
    ] as const
    for (const [thrown, kind, retryable] of kinds) {
      const refusing: Egress = () => Promise.reject(new EgressError(thrown, 'because'))
      await expect(failWith(refusing)).rejects.toMatchObject({ kind, retryable })
    }
  })

  test.each([
    { method: 'GET', url: 'not a url' },
    { method: 'GET', url: 'http://example.com', body: { a: 1 } },
    { method: 'POST', url: 'http://example.com', headers: { 'x-a': 'a\nb' } },
  ] satisfies HttpStep['request'][])('refuses a request that cannot be made: %j', async (request) => {
    const ctx = await setUp()
    await expect(httpStep(step(request), createStepContext(ctx).context)).rejects.toMatchObject({
      kind: 'http-invalid-request',
      retryable: false,
    })
    expect(passed).toEqual([])
  })

  test('stops with the reason of the engine when it is aborted', async () => {
    const ctx = await setUp()
    const controller = new AbortController()
    const reached = new Promise<void>((resolve) => {
      handle = () => resolve()
    })
    const running = httpStep(
      step({ method: 'GET', url }),
      createStepContext(ctx, { signal: controller.signal }).context,
    )
    await reached
    controller.abort(new Error('canceled by its user'))
    await expect(running).rejects.toThrow('canceled by its user')
  })
})
