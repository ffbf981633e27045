import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import type { LlmStep } from '../../../src/services/recipes/definition.ts'
import { llmStep } from '../../../src/services/steps/llm.step.ts'
import { createTestDatabase } from '../../support/database.ts'
import { startProviderServer } from '../../support/provider-server.ts'
import { createServiceContext } from '../../support/service-context.ts'
import { Crash, createStepContext, newStepMemory } from '../../support/step-context.ts'

const database = await createTestDatabase()
const server = await startProviderServer()
afterAll(async () => {
  await server.close()
  await database.close()
})
beforeEach(() => void (server.requests.length = 0))

const step: LlmStep = {
  kind: 'llm',
  id: 'ask',
  prompt: 'Sum up.',
  system: 'You are {{ role }}.',
  context: { note: '{{ note }}' },
  model: { provider: 'anthropic', model: 'scripted' },
}
const scope = { role: 'terse', note: 'It rained.' }
const setUp = () => createServiceContext(database, { env: server.env })
const schema = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] }

describe('an llm step', () => {
  test('asks one model once and commits with its step', async () => {
    const fake = createStepContext(await setUp(), { scope })
    expect(await llmStep(step, fake.context)).toEqual({
      text: 'Hello from the model.',
      model: 'scripted',
      provider: 'anthropic',
      rounds: 1,
    })
    expect(fake.effects).toMatchObject([{ key: '0.0', kind: 'model', committed: 'with the step' }])
    expect(fake.texts.join('')).toBe('Hello from the model.')
    expect(fake.usage).toMatchObject([{ agentId: null, usage: { status: 'ok', input_tokens: 1000 } }])
    const sent = server.requests[0]!.body
    expect(JSON.stringify(sent['system'])).toContain('You are terse.')
    expect(JSON.stringify(sent['messages'])).toContain('It rained.')
  })

  test('repairs the form of an answer once, and does not ask again for what is recorded', async () => {
    const ctx = await setUp()
    const memory = newStepMemory()
    server.script({ kind: 'answer', text: ['four'] }, { kind: 'answer', text: ['{"n":4}'] })
    const first = createStepContext(ctx, { scope, memory, crashAfter: '0.0' })
    await expect(llmStep({ ...step, output_schema: schema }, first.context)).rejects.toBeInstanceOf(Crash)
    const second = createStepContext(ctx, { scope, memory })
    expect(await llmStep({ ...step, output_schema: schema }, second.context)).toMatchObject({
      data: { n: 4 },
      rounds: 2,
    })
    expect(server.requests).toHaveLength(2)
  })

  test('answers with a labelled simulation where no provider is configured', async () => {
    const ctx = await createServiceContext(database)
    const { model: _model, ...unnamed } = step
    const fake = createStepContext(ctx, { scope })
    const output = await llmStep({ ...unnamed, output_schema: schema }, fake.context)
    expect(output).toMatchObject({ provider: 'offline', simulated: true, data: { n: 0 } })
  })

  test('fails for good where no model is configured in production', async () => {
    const ctx = await createServiceContext(database, { config: { environment: 'production' } })
    const { model: _model, ...unnamed } = step
    await expect(llmStep(unnamed, createStepContext(ctx, { scope }).context)).rejects.toMatchObject({
      name: 'StepError',
      kind: 'model-not-configured',
      retryable: false,
    })
  })
})
