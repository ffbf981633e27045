import { afterAll, describe, expect, test } from 'vitest'
import { EgressError } from '../../../src/lib/egress-error.ts'
import type { ToolStep } from '../../../src/services/recipes/definition.ts'
import { toolStep } from '../../../src/services/steps/tool.step.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'
import { createStepContext, newStepMemory } from '../../support/step-context.ts'

const database = await createTestDatabase()
afterAll(() => database.close())
const step = (tool: string, args?: ToolStep['arguments']): ToolStep => ({
  kind: 'tool',
  id: 'call',
  tool,
  ...(args !== undefined && { arguments: args }),
})

describe('a tool step', () => {
  test('calls the tool with what was rendered; its output is what the tool gives', async () => {
    const fake = createStepContext(await createServiceContext(database), { scope: { n: '6 * 7' } })
    expect(await toolStep(step('calculator', { expression: '{{ n }}' }), fake.context)).toEqual({
      result: '42',
      exact: true,
    })
    expect(fake.effects).toMatchObject([{ key: '0.0', kind: 'tool', committed: 'with the step' }])
    expect(fake.events.map(({ type }) => type)).toEqual(['tool.call', 'tool.result'])
  })

  test('takes the recorded instant of the run for now', async () => {
    const fake = createStepContext(await createServiceContext(database), { now: '2026-03-29T01:30:00.000Z' })
    expect(await toolStep(step('now'), fake.context)).toMatchObject({ utc: '2026-03-29T01:30:00.000Z' })
  })

  test('fails with the error that the tool gives, and records none: a retry calls again', async () => {
    const memory = newStepMemory()
    const fake = createStepContext(await createServiceContext(database), { memory })
    await expect(toolStep(step('calculator', { expression: '1 +' }), fake.context)).rejects.toMatchObject({
      kind: 'invalid-expression',
      retryable: false,
    })
    await expect(toolStep(step('calculator', { wrong: 1 }), fake.context)).rejects.toMatchObject({
      kind: 'invalid-arguments',
    })
    expect(memory.recorded.size).toBe(0)
  })

  test('a failure that may pass may be tried again', async () => {
    const egress = async () => {
      throw new EgressError('egress-failed', 'The request failed.')
    }
    const fake = createStepContext(await createServiceContext(database, { egress }))
    await expect(toolStep(step('http_request', { url: 'https://down.example/' }), fake.context)).rejects.toMatchObject({
      kind: 'egress-failed',
      retryable: true,
    })
  })
})
