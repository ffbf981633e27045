import { z } from '@hono/zod-openapi'

const path = z.string().openapi({ description: 'Path of the step: `fetch`, `each/3/note`.' })
const kind = z.string().openapi({ description: 'Kind of the step.' })
const error = z
  .looseObject({ kind: z.string(), detail: z.string() })
  .openapi('ExecutionFault', { description: 'Why it failed: a kind for programs, a sentence for people.' })
const anyJson = z.json().openapi({ type: ['object', 'array', 'string', 'number', 'boolean', 'null'] })
const toolCall = {
  path,
  call: z.string().openapi({ description: 'Round and place in it: `2.1`.' }),
  id: z.string().optional().openapi({ description: 'The id that the model gave the call; none where a step calls.' }),
  name: z.string(),
}
const tokens = z.int().nullable()

const event = <T extends string>(type: T, data: z.ZodRawShape = {}) =>
  z.object({
    seq: z.int().openapi({ description: 'Place in the log of the run, from 1 without a gap.' }),
    type: z.literal(type),
    data: z.looseObject(data),
    created_at: z.iso.datetime(),
  })

/** One entry of a run's log as `followExecution` sends it. Types are added, never renamed. */
export const executionEventSchema = z
  .discriminatedUnion('type', [
    event('execution.queued', { trigger: z.looseObject({ kind: z.string() }) }),
    event('execution.blocked', {
      scope: z.enum(['key', 'recipe', 'workspace']).openapi({ description: 'What the limit counts over.' }),
      key: z.string().optional(),
      limit: z.int(),
    }),
    event('execution.delayed', { reason: z.enum(['debounce', 'throttle']), until: z.iso.datetime() }),
    event('execution.debounced', { trigger: z.looseObject({ kind: z.string() }), until: z.iso.datetime() }),
    event('execution.started'),
    event('execution.resumed'),
    event('execution.waiting', { steps: z.array(z.string()).openapi({ description: 'Paths of what it waits for.' }) }),
    event('execution.released'),
    event('execution.recovered', { recoveries: z.int() }),
    event('execution.paused', { reason: z.string().nullable() }),
    event('execution.retried', {
      generation: z.int(),
      steps: z.array(z.string()).openapi({ description: 'Paths of what is done again, the first hundred.' }),
    }),
    event('execution.succeeded'),
    event('execution.failed', { error }),
    event('execution.timed_out', { error }),
    event('execution.canceled', { reason: z.string() }),
    event('step.started', {
      path,
      kind,
      attempt: z.int(),
      items: z.int().optional().openapi({ description: 'Of a foreach: how many items it has.' }),
      case: z
        .union([z.int(), z.enum(['default', 'none'])])
        .optional()
        .openapi({ description: 'Of a branch: index of the case that is taken, or what is done without one.' }),
    }),
    event('step.succeeded', {
      path,
      kind,
      attempts: z.int(),
      failed_items: z
        .int()
        .optional()
        .openapi({ description: 'Of a foreach that collects: how many of its items failed, where some did.' }),
    }),
    event('step.failed', { path, kind, error }),
    event('step.retrying', { path, error, delay_ms: z.int() }),
    event('step.skipped', { path, kind }),
    event('step.waiting', {
      path,
      kind,
      until: z.iso.datetime().optional(),
      delay_ms: z.number().optional(),
      event: z.string().optional().openapi({ description: 'Name of the event that it waits for.' }),
      approval_id: z.uuid().optional(),
      execution_id: z.uuid().optional().openapi({ description: 'Of the run that it has started.' }),
      reason: z.literal('budget').optional().openapi({ description: 'A budget has no room for its call of a model.' }),
      budget_id: z.uuid().optional(),
    }),
    event('approval.requested', { path, approval_id: z.uuid(), message: z.string() }),
    event('approval.decided', {
      path,
      approval_id: z.uuid(),
      decision: z.enum(['approved', 'rejected']),
      comment: z.string().nullable(),
      decided_by: z.looseObject({ kind: z.string() }),
    }),
    event('approval.expired', { path, approval_id: z.uuid() }),
    event('text.delta', { path, text: z.string() }),
    event('tool.call', { ...toolCall, input: anyJson }),
    event('tool.result', { ...toolCall, result: anyJson, is_error: z.boolean() }),
    event('usage', {
      path,
      provider: z.string(),
      model: z.string(),
      status: z.enum(['ok', 'error', 'canceled']),
      input_tokens: tokens,
      output_tokens: tokens,
      cost_usd: z.string().nullable().openapi({ description: 'Exact decimal; null when it is not known.' }),
    }),
    event('log', { level: z.enum(['info', 'warn', 'error']), message: z.string(), path: path.optional() }),
  ])
  .openapi('ExecutionEvent', { description: 'An entry in the log of a run.' })
