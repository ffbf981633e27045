import { afterAll, describe, expect, test } from 'vitest'
import { askModel } from '../../../src/services/models/ask.ts'
import type { ModelRequest, ModelUsage } from '../../../src/services/models/types.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const database = await createTestDatabase()
afterAll(() => database.close())

const tool = { name: 'calculator', description: 'Computes.', parameters: { type: 'object' } }
const request = (text: string, more: Partial<ModelRequest> = {}): ModelRequest => ({
  choice: { provider: 'offline', model: 'offline' },
  system: null,
  messages: [{ role: 'user', text }],
  tools: [],
  ...more,
})
const article = [
  'Summarize: The harbour bridge closes for repairs on Monday.',
  'The repairs of the bridge take three weeks.',
  'A baker was seen nearby.',
  'Traffic over the harbour bridge is led through the tunnel.',
  'Nobody commented.',
].join(' ')

describe('the offline model', () => {
  test('gives the sentences that say most of the content, labelled as simulated, the same each time', async () => {
    const ctx = await createServiceContext(database)
    const deltas: string[] = []
    const first = await askModel(ctx, request(article), { onText: (delta) => deltas.push(delta) })
    const second = await askModel(ctx, request(article))
    expect(first.text).toBe(
      'The harbour bridge closes for repairs on Monday. The repairs of the bridge take three weeks. Traffic over the harbour bridge is led through the tunnel.',
    )
    expect(second.text).toBe(first.text)
    expect(first).toMatchObject({ simulated: true, provider: 'offline', finish_reason: 'stop', cost_usd: '0' })
    expect(deltas.length).toBeGreaterThan(2)
    expect(deltas.join('')).toBe(first.text)
  })

  test('summarizes the texts of a context block rather than the instruction', async () => {
    const ctx = await createServiceContext(database)
    const { text } = await askModel(ctx, request('Say it short.\n\n<context>\n{"title":"Rain in Bergen"}\n</context>'))
    expect(text).toBe('Rain in Bergen')
  })

  test('calls offered tools in the order the prompt names them, then answers with their results', async () => {
    const ctx = await createServiceContext(database)
    const prompt = 'First call calculator {"expression": "1 + 1"}, then call unknown {"a": {}}.'
    const ask = request(prompt, { tools: [tool] })
    const first = await askModel(ctx, ask)
    expect(first.tool_calls).toEqual([{ id: 'offline-1-0', name: 'calculator', input: { expression: '1 + 1' } }])
    expect(first.finish_reason).toBe('tool-calls')
    const second = await askModel(ctx, {
      ...ask,
      messages: [
        ...ask.messages,
        { role: 'assistant', text: first.text, tool_calls: first.tool_calls },
        { role: 'tool', results: [{ id: 'offline-1-0', name: 'calculator', result: { result: 2 }, is_error: false }] },
      ],
    })
    expect(second.tool_calls).toEqual([])
    expect(second.text).toBe('calculator: {"result":2}')
  })

  test('shows arguments that are not JSON as invalid instead of failing', async () => {
    const ctx = await createServiceContext(database)
    const { tool_calls } = await askModel(ctx, request('call calculator {oops}', { tools: [tool] }))
    expect(tool_calls[0]?.input).toEqual({ $invalid: '{oops}' })
  })

  test('answers a structured request with a value of its shape', async () => {
    const ctx = await createServiceContext(database)
    const { text } = await askModel(
      ctx,
      request('Judge: The news is good.', {
        output_schema: {
          type: 'object',
          properties: {
            summary: { type: 'string', maxLength: 8 },
            mood: { enum: ['good', 'bad'] },
            score: { type: 'integer', minimum: 1, maximum: 5 },
            tags: { type: 'array', items: { type: 'string' } },
          },
          required: ['summary', 'mood', 'score', 'tags'],
        },
      }),
    )
    expect(JSON.parse(text)).toEqual({ summary: 'The news', mood: 'good', score: 1, tags: ['The news is good.'] })
  })

  test('reports its usage once, as simulated and free', async () => {
    const ctx = await createServiceContext(database)
    const usage: ModelUsage[] = []
    await askModel(ctx, request('Hello there.'), { onUsage: (row) => usage.push(row) })
    expect(usage).toEqual([
      expect.objectContaining({ provider: 'offline', status: 'ok', simulated: true, cost_usd: '0', output_tokens: 2 }),
    ])
  })

  test('is refused in production unless it is allowed there', async () => {
    const production = { environment: 'production' as const }
    const refused = await createServiceContext(database, { config: production })
    await expect(askModel(refused, request('Hi.'))).rejects.toMatchObject({ kind: 'model-not-configured' })
    const allowed = await createServiceContext(database, { config: { ...production, allowOfflineModel: true } })
    expect((await askModel(allowed, request('Hi.'))).simulated).toBe(true)
  })
})
