import type { ServiceContext } from '../../src/context.ts'
import type { Json, JsonObject } from '../../src/lib/json.ts'
import type { ModelUsage } from '../../src/services/models/types.ts'
import { StepError, type StepContext } from '../../src/services/runs/step-executor.ts'

/** What outlives a process: recorded calls and the step's own state. */
export interface StepMemory {
  recorded: Map<string, Json>
  state: JsonObject | null
}
export const newStepMemory = (): StepMemory => ({ recorded: new Map(), state: null })

export interface FakeStep {
  context: StepContext
  /** Effects made in this life of the step, with the key that was sent and how they were committed. */
  effects: { key: string; kind: string; idempotencyKey: string; committed: 'alone' | 'with the step' }[]
  events: { type: string; data: JsonObject }[]
  usage: { usage: ModelUsage; agentId: string | null }[]
  texts: string[]
}

/** Thrown where a test lets the process die. */
export class Crash extends Error {}

/**
 * A small engine in memory: records effects, and can die right after one has been committed. Templates know `{{ name }}`
 * and `{"$expr": "name"}` of `scope`; the recipe language has tests of its own.
 */
export function createStepContext(
  ctx: ServiceContext,
  options: {
    memory?: StepMemory
    scope?: { [name: string]: Json }
    signal?: AbortSignal
    crashAfter?: string
    now?: string
  } = {},
): FakeStep {
  const { memory = newStepMemory(), scope = {}, crashAfter } = options
  const fake: Omit<FakeStep, 'context'> = { effects: [], events: [], usage: [], texts: [] }
  let over = false

  const look = (name: string): Json => {
    if (!(name in scope)) throw new StepError('template', `'${name}' is not in the scope.`, { retryable: false })
    return scope[name]!
  }
  const renderText = (template: string): string =>
    template.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name: string) => {
      const value = look(name)
      return typeof value === 'string' ? value : JSON.stringify(value)
    })
  const render = (template: Json): Json => {
    if (typeof template === 'string') return renderText(template)
    if (Array.isArray(template)) return template.map(render)
    if (typeof template !== 'object' || template === null) return template
    if (typeof template['$expr'] === 'string') return look(template['$expr'])
    return Object.fromEntries(Object.entries(template).map(([key, value]) => [key, render(value)]))
  }

  const context: StepContext = {
    ctx,
    runId: '018f0000-0000-7000-8000-000000000001',
    path: 'step',
    attempt: 1,
    now: options.now ?? '2026-03-29T01:30:00.000Z',
    signal: options.signal ?? new AbortController().signal,
    render,
    renderText,
    recorded: (key) => memory.recorded.get(key),
    async effect(key, kind, _request, effect, { final } = {}) {
      if (over) throw new Error('An effect was made after the final one.')
      const known = memory.recorded.get(key)
      if (known !== undefined) return known as Awaited<ReturnType<typeof effect>>
      const idempotencyKey = `run/1/step/${key}`
      const result = await effect(idempotencyKey)
      over = final?.(result) ?? false
      fake.effects.push({ key, kind, idempotencyKey, committed: over ? 'with the step' : 'alone' })
      // A database keeps JSON, not the object: what is not JSON would be lost here too.
      if (!over) memory.recorded.set(key, JSON.parse(JSON.stringify(result)) as Json)
      if (key === crashAfter) throw new Crash()
      return result
    },
    get state() {
      return memory.state
    },
    setState(state) {
      memory.state = JSON.parse(JSON.stringify(state)) as JsonObject
    },
    emit: (type, data) => void fake.events.push({ type, data }),
    text: (delta) => void fake.texts.push(delta),
    usage: (usage, agentId) => void fake.usage.push({ usage, agentId }),
    log() {},
  }
  return { context, ...fake }
}
