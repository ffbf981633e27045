import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, describe, expect, test } from 'vitest'
import type { EgressOptions } from '../../../src/context.ts'
import { EgressError } from '../../../src/lib/egress-error.ts'
import type { Json } from '../../../src/lib/json.ts'
import { checkSchema } from '../../../src/lib/json-schema.ts'
import { runTool, toolNames, toolSpecs } from '../../../src/services/tools/registry.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const database = await createTestDatabase()
let answer: (response: ServerResponse) => void = (response) => response.end()
let received: { headers: object; body: string } | undefined
const server = createServer((request, response) => {
  let body = ''
  request.on('data', (chunk: Buffer) => (body += chunk.toString('utf8')))
  request.on('end', () => {
    received = { headers: request.headers, body }
    answer(response)
  })
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
afterAll(async () => {
  server.close()
  await database.close()
})

const options = {
  signal: new AbortController().signal,
  idempotencyKey: 'run/1/step/0.1',
  now: new Date('2026-03-29T01:30:00Z'),
}
const errorOf = (kind: string) => ({ is_error: true, result: { error: { kind, detail: expect.any(String) } } })

describe('tools', () => {
  test('describe their arguments with schemas that can be applied', () => {
    expect(toolNames).toEqual(['http_request', 'now', 'calculator'])
    for (const { parameters, description } of toolSpecs(toolNames)) {
      expect(checkSchema(parameters)).toBeNull()
      expect(description.length).toBeGreaterThan(20)
    }
    expect(toolSpecs(['now', 'removed'])).toHaveLength(1)
  })

  test('answer wrong arguments with an error that names them', async () => {
    const ctx = await createServiceContext(database)
    expect(await runTool(ctx, 'calculator', {}, options)).toMatchObject(errorOf('invalid-arguments'))
    expect(await runTool(ctx, 'calculator', 'text', options)).toMatchObject(errorOf('invalid-arguments'))
    expect(await runTool(ctx, 'calculator', { $invalid: '{' }, options)).toMatchObject(errorOf('invalid-arguments'))
    expect(await runTool(ctx, 'calculator', { expression: '1/0' }, options)).toMatchObject(
      errorOf('invalid-expression'),
    )
    expect(await runTool(ctx, 'now', { timezone: 'Mars/Olympus' }, options)).toMatchObject(errorOf('invalid-arguments'))
    expect(await runTool(ctx, 'teleport', {}, options)).toMatchObject(errorOf('unknown-tool'))
  })

  test('now tells the instant of the run in the zone that is asked for', async () => {
    const ctx = await createServiceContext(database)
    expect(await runTool(ctx, 'now', { timezone: 'Europe/Berlin' }, options)).toEqual({
      is_error: false,
      result: {
        utc: '2026-03-29T01:30:00.000Z',
        timezone: 'Europe/Berlin',
        local: '2026-03-29T03:30:00+02:00',
        weekday: 'Sunday',
      },
    })
    expect(await runTool(ctx, 'now', {}, options)).toMatchObject({ result: { local: '2026-03-29T01:30:00+00:00' } })
  })
})

describe('http_request', () => {
  test('goes through the guard without the means to use a credential, and returns parsed bodies', async () => {
    const seen: (EgressOptions | undefined)[] = []
    const ctx = await createServiceContext(database, {
      egress: (request, given) => (seen.push(given), fetch(request)),
    })
    answer = (response) => response.writeHead(404, { 'content-type': 'application/json' }).end('{"why":"gone"}')
    const outcome = await runTool(ctx, 'http_request', { method: 'POST', url, body: { b: 1, a: 2 } }, options)
    expect(outcome).toMatchObject({ is_error: false, result: { status: 404, body: { why: 'gone' } } })
    expect(received).toMatchObject({ body: '{"a":2,"b":1}', headers: { 'idempotency-key': 'run/1/step/0.1' } })
    expect(seen[0]).toMatchObject({ secrets: false })
    expect(seen[0]).not.toHaveProperty('credential')
    expect(seen[0]).toMatchObject({ maxResponseBytes: 2097152, timeoutMs: 30000 })
  })

  test('shows the model no more of a body than it can read', async () => {
    const ctx = await createServiceContext(database)
    answer = (response) => response.writeHead(200, { 'content-type': 'text/plain' }).end('x'.repeat(100_000))
    const { result } = await runTool(ctx, 'http_request', { url }, options)
    expect(result).toMatchObject({ truncated: true, full_length: 100_000 })
    expect((result as { body: string }).body).toHaveLength(40_000)
  })

  test('reads a body that is not what it says it is as text', async () => {
    const ctx = await createServiceContext(database)
    answer = (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('not json')
    expect(await runTool(ctx, 'http_request', { url }, options)).toMatchObject({ result: { body: 'not json' } })
  })

  test('lets the model read why a request was not made', async () => {
    const refusing = await createServiceContext(database, {
      egress: () => Promise.reject(new EgressError('egress-refused', '169.254.169.254 is not a public address.')),
    })
    const meta = { url: 'http://169.254.169.254/latest/meta-data' }
    expect(await runTool(refusing, 'http_request', meta, options)).toMatchObject(errorOf('egress-refused'))
    const ctx = await createServiceContext(database)
    const impossible: Json[] = [{ url: 'nowhere' }, { url, body: 'x' }, { url, headers: { 'bad header': 'x' } }]
    for (const args of impossible) {
      expect(await runTool(ctx, 'http_request', args, options)).toMatchObject(errorOf('invalid-arguments'))
    }
  })

  test('ends with the reason of the abort', async () => {
    const ctx = await createServiceContext(database)
    const controller = new AbortController()
    answer = () => controller.abort(new Error('canceled'))
    const running = runTool(ctx, 'http_request', { url }, { ...options, signal: controller.signal })
    await expect(running).rejects.toThrow('canceled')
  })
})
