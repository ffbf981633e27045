import { z } from '@hono/zod-openapi'
import { modelChoiceSchema } from '../services/recipes/definition.ts'
import { summaryExample } from './executions.schemas.ts'

const time = z.iso.datetime()
const count = z.int().min(0)
const cost = z.string().nullable()
const model = modelChoiceSchema.clone().openapi('ReplayModel', {
  description: 'In place of the model of every agent and llm step. Default: the models that the version names.',
})

export const newReplaySchema = z
  .strictObject({
    recipe: z.string().max(100).openapi({ description: 'Slug or id of the recipe.', example: 'feed-digest' }),
    last: z
      .int()
      .min(1)
      .max(200)
      .default(10)
      .openapi({ description: 'How many of its last executions that succeeded or failed. Default 10.', example: 10 }),
    execution_ids: z
      .array(z.string().max(100))
      .min(1)
      .max(200)
      .optional()
      .openapi({ description: 'These executions, in place of the last.' }),
    recipe_version: z.int().min(1).optional().openapi({ description: 'Default: the latest version.' }),
    model: model.optional(),
    call_models: z.boolean().default(false).openapi({
      description:
        'Ask models where the recorded answers do not fit any more. It costs what they cost. Tools and requests are never made.',
    }),
  })
  .openapi('NewReplay')

const costs = (description: string) =>
  z.object({ recorded: cost, replayed: cost, spent: cost }).openapi('ReplayCost').openapi({ description })

export const replaySchema = z
  .object({
    id: z.uuid(),
    recipe_id: z.uuid(),
    recipe_version: z.int(),
    model: z.looseObject({ provider: z.string(), model: z.string() }).nullable(),
    call_models: z.boolean(),
    status: z.enum(['queued', 'running', 'finished', 'canceled']),
    total: count.openapi({ description: 'Executions to compare.' }),
    compared: count,
    failed: count.openapi({ description: 'That could not be compared; each says why.' }),
    same: count,
    different: count,
    unknown: count.openapi({ description: 'Gone through up to a step for which nothing is recorded.' }),
    cost_usd: costs(
      'What the compared executions have cost, what they would cost now, and what the comparison itself has cost. Exact decimals; null where any part is not known.',
    ),
    created_at: time,
    finished_at: time.nullable(),
  })
  .openapi('Replay')

const change = z.looseObject({ op: z.string() }).openapi('ReplayChange', {
  description: 'As in the difference of two versions; long values are told by their length.',
})
const verdicts = ['same', 'changed', 'would_call', 'added', 'removed', 'not_reached'] as const
const beforeAndNow = z.object({ recorded: z.string().nullable(), replayed: z.string().nullable() })

const stepReport = z
  .object({
    path: z.string(),
    kind: z.string(),
    verdict: z.enum(verdicts).openapi({
      description:
        '`changed`: it came out otherwise. `would_call`: what it goes out with has changed, so no recorded answer is one to it; it was not sent. `not_reached`: behind the step where the comparison stopped.',
    }),
    called: z.boolean().openapi({ description: 'Models were asked anew.' }),
    assumed: z.boolean().openapi({
      description: 'It builds on a recorded output that stands for one which a step before it would have given.',
    }),
    status: beforeAndNow,
    cost_usd: beforeAndNow,
    input_changes: z.array(change),
    output_changes: z.array(change),
  })
  .openapi('ReplayStep')

export const replayedExecutionSchema = z
  .object({
    execution_id: z.uuid(),
    status: z.enum(['pending', 'compared', 'failed']),
    verdict: z.enum(['same', 'different', 'unknown']).nullable(),
    report: z
      .object({
        status: beforeAndNow,
        output_is_same: z.boolean().nullable(),
        output_changes: z.array(change),
        counts: z.object(
          Object.fromEntries(verdicts.map((verdict) => [verdict, count])) as Record<
            (typeof verdicts)[number],
            typeof count
          >,
        ),
        stopped_at: z.string().nullable(),
        cost_usd: costs('Exact decimals; null where any part is not known.'),
        steps: z.array(stepReport).openapi({ description: 'Those that are not the same, the first 200.' }),
        steps_omitted: count,
      })
      .nullable(),
    error: z.looseObject({ kind: z.string(), detail: z.string() }).nullable(),
    finished_at: time.nullable(),
  })
  .openapi('ComparedExecution')

export const replayExample = {
  id: '01939f3c-5c2a-7b3e-9d1a-00000000000a',
  recipe_id: summaryExample.recipe_id,
  recipe_version: 4,
  model: null,
  call_models: false,
  status: 'finished',
  total: 10,
  compared: 10,
  failed: 0,
  same: 8,
  different: 2,
  unknown: 0,
  cost_usd: { recorded: '0.0039', replayed: '0.0039', spent: '0' },
  created_at: '2026-11-22T08:00:00.000Z',
  finished_at: '2026-11-22T08:00:03.000Z',
}
export const comparedExample = {
  execution_id: summaryExample.id,
  status: 'compared',
  verdict: 'different',
  report: {
    status: { recorded: 'succeeded', replayed: 'succeeded' },
    output_is_same: false,
    output_changes: [{ op: 'replace', pointer: '/title', from: 'Digest', to: 'News' }],
    counts: { same: 3, changed: 1, would_call: 0, added: 0, removed: 0, not_reached: 0 },
    stopped_at: null,
    cost_usd: { recorded: '0.000391', replayed: '0.000391', spent: '0' },
    steps: [
      {
        path: 'title',
        kind: 'transform',
        verdict: 'changed',
        called: false,
        assumed: false,
        status: { recorded: 'succeeded', replayed: 'succeeded' },
        cost_usd: { recorded: '0', replayed: '0' },
        input_changes: [],
        output_changes: [{ op: 'replace', pointer: '', from: 'Digest', to: 'News' }],
      },
    ],
    steps_omitted: 0,
  },
  error: null,
  finished_at: '2026-11-22T08:00:03.000Z',
}
