import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { jsonb } from '../../../src/db/json.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { askModel } from '../../../src/services/models/ask.ts'
import type { ModelRequest, ModelUsage } from '../../../src/services/models/types.ts'
import { createTestDatabase } from '../../support/database.ts'
import { defaultUsage, startProviderServer, testKey } from '../../support/provider-server.ts'
import { openrouterCost, wires, type WireProvider } from '../../support/provider-wire.ts'
import { createServiceContext } from '../../support/service-context.ts'

const database = await createTestDatabase()
const server = await startProviderServer()
afterAll(async () => {
  await server.close()
  await database.close()
})
beforeEach(() => {
  server.requests.length = 0
})

const model = 'scripted-model'
const providers: WireProvider[] = ['openai', 'anthropic', 'google', 'openrouter', 'openai-compatible']
for (const provider of providers) {
  await database.db
    .insertInto('models')
    .values({
      id: uuidv7(),
      provider,
      model,
      name: 'Scripted',
      context_window: null,
      max_output_tokens: null,
      capabilities: jsonb([]),
      input_usd: '0.15',
      cached_input_usd: '0.075',
      cache_write_usd: null,
      output_usd: '0.60',
      price_limit_tokens: null,
      seed_hash: null,
    })
    .execute()
}

const tool = {
  name: 'lookup',
  description: 'Looks something up.',
  parameters: { type: 'object', properties: { q: { type: 'string' } }, required: ['q'] },
}
const requestTo = (provider: string, more: Partial<ModelRequest> = {}): ModelRequest => ({
  choice: { provider, model },
  system: 'Be brief.',
  messages: [{ role: 'user', text: 'Say hello.' }],
  tools: [],
  ...more,
})

async function setUp(options: { timeoutS?: number } = {}) {
  const ctx = await createServiceContext(database, {
    env: server.env,
    config: { modelTimeoutS: options.timeoutS ?? 10 },
  })
  const usage: ModelUsage[] = []
  const deltas: string[] = []
  const ask = (request: ModelRequest, signal?: AbortSignal) =>
    askModel(ctx, request, {
      onUsage: (row) => usage.push(row),
      onText: (delta) => deltas.push(delta),
      ...(signal && { signal }),
    })
  return { ctx, ask, usage, deltas }
}

/** The event that says why an answer ended, and so that it did. */
const ends: Record<WireProvider, RegExp> = {
  openai: /"response\.completed"/,
  anthropic: /"stop_reason":"/,
  google: /"finishReason"/,
  openrouter: /"finish_reason":"/,
  'openai-compatible': /"finish_reason":"/,
}

describe.each(providers)('%s', (provider) => {
  test('streams a text, counts its tokens and prices it exactly', async () => {
    const { ask, usage, deltas } = await setUp()
    const answer = await ask(requestTo(provider))
    expect(deltas).toEqual(['Hello ', 'from ', 'the model.'])
    expect(answer).toMatchObject({
      text: 'Hello from the model.',
      tool_calls: [],
      finish_reason: 'stop',
      provider,
      model,
      usage: { input_tokens: 1000, cached_input_tokens: 200, output_tokens: 50 },
    })
    // 800 * 0.15 + 200 * 0.075 + 50 * 0.60, per million.
    const cost = provider === 'openrouter' ? String(openrouterCost) : '0.000165'
    expect(answer.cost_usd).toBe(cost)
    expect(usage).toEqual([
      expect.objectContaining({ provider, model, status: 'ok', error: null, cost_usd: cost, input_tokens: 1000 }),
    ])
    expect(server.requests).toHaveLength(1)
  })

  test('returns tool calls with parsed arguments and takes their results', async () => {
    const { ask } = await setUp()
    server.script({ kind: 'answer', calls: [{ id: 'call_1', name: 'lookup', args: '{"q":"hello"}' }] })
    const request = requestTo(provider, { tools: [tool] })
    const first = await ask(request)
    expect(first.finish_reason).toBe('tool-calls')
    expect(first.tool_calls).toMatchObject([{ name: 'lookup', input: { q: 'hello' } }])
    const { id, name } = first.tool_calls[0]!
    const second = await ask({
      ...request,
      messages: [
        ...request.messages,
        {
          role: 'assistant',
          text: first.text,
          tool_calls: first.tool_calls,
          ...(first.continuation && { continuation: JSON.parse(JSON.stringify(first.continuation)) }),
        },
        { role: 'tool', results: [{ id, name, result: { found: 'the-found-thing' }, is_error: false }] },
      ],
    })
    expect(second.text).toBe('Hello from the model.')
    const sent = JSON.stringify(server.requests[1]!.body)
    expect(sent).toContain('lookup')
    expect(sent).toContain('the-found-thing')
  })

  test('reports a 429 with the time that the provider asks for', async () => {
    const { ask, usage } = await setUp()
    server.script({ kind: 'status', status: 429, headers: { 'retry-after': '7' } })
    await expect(ask(requestTo(provider))).rejects.toMatchObject({
      kind: 'model-rate-limited',
      status: 429,
      retryable: true,
      retryAfterMs: 7000,
    })
    expect(usage).toMatchObject([{ status: 'error', error: 'model-rate-limited', cost_usd: '0', input_tokens: null }])
    expect(server.requests).toHaveLength(1)
  })

  test('reports a 500 as the upstream failing, after one call', async () => {
    const { ask, usage } = await setUp()
    server.script({ kind: 'status', status: 500 })
    await expect(ask(requestTo(provider))).rejects.toMatchObject({ kind: 'upstream-failed', retryable: true })
    expect(usage).toHaveLength(1)
    expect(server.requests).toHaveLength(1)
  })

  test('never repeats what a provider said about a refused request', async () => {
    const { ask } = await setUp()
    server.script({ kind: 'status', status: 401 })
    const error = await ask(requestTo(provider)).catch((failure: unknown) => failure as Error)
    expect(error).toMatchObject({ kind: 'model-refused', status: 401, retryable: false })
    expect(`${(error as Error).message} ${JSON.stringify(error)}`).not.toContain(testKey)
  })

  test('gives up a provider that does not answer in time', async () => {
    const { ask, usage } = await setUp({ timeoutS: 0.1 })
    server.script({ kind: 'hold' })
    await expect(ask(requestTo(provider))).rejects.toMatchObject({ kind: 'model-timeout', retryable: true })
    expect(usage).toMatchObject([{ status: 'error', error: 'model-timeout' }])
    server.release()
  })

  test('stops at once when the caller aborts, and accounts for it as canceled', async () => {
    const { ask, usage } = await setUp()
    server.script({ kind: 'hold' })
    const controller = new AbortController()
    const asked = ask(requestTo(provider), controller.signal)
    await server.held()
    controller.abort(new Error('stopped by the test'))
    await expect(asked).rejects.toThrow('stopped by the test')
    expect(usage).toMatchObject([{ status: 'canceled', error: null }])
    server.release()
  })

  test.each(['cut', 'end-early', 'malformed'] as const)('fails on an answer that is %s in mid-stream', async (kind) => {
    const { ask, usage } = await setUp()
    server.script({ kind })
    await expect(ask(requestTo(provider))).rejects.toMatchObject({ kind: 'model-malformed', retryable: true })
    expect(usage).toMatchObject([{ status: 'error', error: 'model-malformed' }])
  })

  test('takes no answer for whole that lacks its end, wherever it stops', async () => {
    const { ask } = await setUp()
    const calls = [{ id: 'call_1', name: 'lookup', args: '{"q":"weather"}' }]
    for (const answer of [{ calls: [] }, { text: [], calls }, { text: ['Let me look.'], calls }]) {
      const frames = wires[provider].frames({ text: ['Hello.'], usage: defaultUsage, ...answer })
      const end = frames.findIndex((frame) => ends[provider].test(frame))
      expect(end).toBeGreaterThan(0)
      for (let events = 1; events <= end; events += 1) {
        server.script({ kind: 'end-early', text: ['Hello.'], ...answer, events })
        await expect(ask(requestTo(provider, { tools: [tool] })), `${events} events`).rejects.toMatchObject({
          kind: 'model-malformed',
        })
      }
    }
  })

  test('passes on the settings of the choice and the shape of the answer', async () => {
    const { ask } = await setUp()
    server.script({ kind: 'answer', text: ['{"ok":true}'] })
    await ask(
      requestTo(provider, {
        choice: { provider, model, temperature: 0.5, max_output_tokens: 123 },
        output_schema: { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] },
      }),
    )
    const sent = JSON.stringify(server.requests[0]!.body)
    expect(sent).toContain('123')
    expect(sent).toContain('0.5')
    expect(sent).toContain('JSON Schema')
  })
})
