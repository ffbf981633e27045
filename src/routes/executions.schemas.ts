import { z } from '@hono/zod-openapi'

export const executionParams = z.object({ execution: z.string().openapi({ description: 'Id of the execution.' }) })

const time = z.iso.datetime()

export const runStateSchema = z
  .enum(['queued', 'blocked', 'running', 'waiting', 'paused', 'succeeded', 'failed', 'canceled', 'timed_out'])
  .openapi('ExecutionStatus')

const errorSchema = z
  .looseObject({ kind: z.string(), detail: z.string() })
  .nullable()
  .openapi({ description: 'Why it failed: a kind for programs, a sentence for people.' })

const anyJson = (description: string) =>
  z.json().openapi({ description, type: ['object', 'array', 'string', 'number', 'boolean', 'null'] })

export const prioritySchema = z.int().min(-100).max(100)

export const startedExecutionSchema = z
  .object({
    id: z.uuid(),
    execution_id: z.uuid().openapi({ description: 'The same as `id`.' }),
    recipe_id: z.uuid(),
    recipe_version: z.int(),
    status: runStateSchema.openapi({
      description: '`canceled` where the limit of the recipe is reached and its `on_conflict` is `skip`.',
    }),
    debounced: z
      .literal(true)
      .optional()
      .openapi({ description: 'It was made by an earlier trigger, and starts with the input of this one.' }),
  })
  .openapi('StartedExecution')

export const executionSummarySchema = z
  .object({
    id: z.uuid(),
    status: runStateSchema,
    recipe_id: z.uuid().nullable(),
    recipe_version: z.int().nullable(),
    trigger: z.looseObject({ kind: z.string() }),
    error: errorSchema,
    usage: z.looseObject({
      model_calls: z.int(),
      input_tokens: z.int(),
      output_tokens: z.int(),
      cost_usd: z
        .string()
        .nullable()
        .openapi({ description: 'Exact decimal; null when the cost of any call is unknown.' }),
    }),
    generation: z.int().openapi({ description: 'Grows by one with every retry.' }),
    parent_execution_id: z.uuid().nullable().openapi({ description: 'The execution whose step started this one.' }),
    replay_of: z.uuid().nullable().openapi({ description: 'The execution that this one repeats.' }),
    replayed_from: z
      .string()
      .nullable()
      .openapi({ description: 'Path of the step that a replay began with; null where it began at the beginning.' }),
    priority: z.int(),
    created_at: time,
    started_at: time.nullable(),
    finished_at: time.nullable(),
  })
  .openapi('ExecutionSummary')

export const executionStepSchema = z
  .object({
    path: z
      .string()
      .openapi({ description: '`fetch`, `each/3/note`, `route/default/send`; a second visit is `fetch~2`.' }),
    step_id: z.string(),
    kind: z.string().openapi({ description: 'Kind of the step; `item` is one item of a foreach.' }),
    status: z.enum(['pending', 'running', 'waiting', 'succeeded', 'failed', 'skipped', 'canceled']),
    attempts: z.int(),
    output: anyJson('What the step gave; null until it has succeeded.'),
    error: errorSchema,
    wake_at: time.nullable(),
    started_at: time.nullable(),
    finished_at: time.nullable(),
  })
  .openapi('ExecutionStep')

const waitsForSchema = z
  .discriminatedUnion('reason', [
    z.object({
      reason: z.literal('concurrency'),
      scope: z.enum(['key', 'recipe', 'workspace']).openapi({ description: 'What the limit counts over.' }),
      key: z.string().nullable(),
      limit: z.int(),
      place: z.int().openapi({ description: 'In the line for a slot; 1 is next.' }),
      held_by: z.array(z.uuid()).openapi({ description: 'Executions that have the slots, the first ten.' }),
    }),
    z.object({ reason: z.enum(['debounce', 'throttle']), until: time }),
    z.object({ reason: z.literal('workspace_paused') }),
    z.object({
      reason: z.literal('budget'),
      budget_id: z.uuid(),
      until: time.nullable().openapi({ description: 'When it looks again: at the turn of the window, or sooner.' }),
    }),
  ])
  .nullable()
  .openapi({ description: 'What keeps it from going on; null where nothing but a free worker is missing.' })

export const executionSchema = executionSummarySchema
  .extend({
    last_seq: z.int().openapi({ description: 'Number of the last entry in its log of events.' }),
    waits_for: waitsForSchema,
    input: anyJson('What the run was given.'),
    output: anyJson('What the run gave; null until it has succeeded.'),
    steps: z.array(executionStepSchema),
    steps_total: z.int(),
    budget_usd: z
      .string()
      .nullable()
      .openapi({ description: 'What it may spend with the executions that it starts; null: no bound of its own.' }),
    cost_usd: z.string().nullable().openapi({
      description: 'What it has cost with the executions that it has started; null when any cost is unknown.',
    }),
  })
  .openapi('Execution')

export const cancelBodySchema = z
  .strictObject({ reason: z.string().trim().min(1).max(500).optional() })
  .openapi('CancelExecution')

export const summaryExample = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
  status: 'succeeded',
  recipe_id: '01939f3c-5c2a-7b3e-9d1a-000000000001',
  recipe_version: 3,
  trigger: { kind: 'api' },
  error: null,
  usage: { model_calls: 1, input_tokens: 812, output_tokens: 94, cost_usd: '0.000391' },
  generation: 1,
  parent_execution_id: null,
  replay_of: null,
  replayed_from: null,
  priority: 0,
  created_at: '2026-11-22T08:00:00.000Z',
  started_at: '2026-11-22T08:00:00.012Z',
  finished_at: '2026-11-22T08:00:02.480Z',
}
export const executionExample = {
  ...summaryExample,
  last_seq: 5,
  waits_for: null,
  input: { feed_url: 'https://example.org/feed.xml' },
  output: '# Digest',
  steps: [
    {
      path: 'fetch',
      step_id: 'fetch',
      kind: 'http',
      status: 'succeeded',
      attempts: 1,
      output: { status: 200, headers: {}, body: {} },
      error: null,
      wake_at: null,
      started_at: '2026-11-22T08:00:00.020Z',
      finished_at: '2026-11-22T08:00:00.230Z',
    },
  ],
  steps_total: 1,
  budget_usd: '0.50',
  cost_usd: '0.000391',
}
