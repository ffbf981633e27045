import { z } from '@hono/zod-openapi'
import { findingKinds } from '../services/executions.service.ts'
import { runStateSchema, summaryExample } from './executions.schemas.ts'

const time = z.iso.datetime()
const count = z.int().min(0)
const spread = (description: string) =>
  z
    .object({ p50: count.nullable(), p95: count.nullable(), max: count.nullable() })
    .openapi('ExecutionSpread')
    .openapi({ description })

const figures = {
  total: count,
  succeeded: count,
  failed: count.openapi({ description: 'Those that ran out of time included.' }),
  retries: count.openapi({ description: 'Generations behind the first.' }),
  success_rate: z
    .number()
    .min(0)
    .max(1)
    .nullable()
    .openapi({ description: 'Succeeded of those that succeeded or failed; null while there is none.' }),
  duration_ms: spread(
    'From the first start to the end, waits included, of those that have ended; null where none has.',
  ),
  queue_ms: spread('From the creation to the first start; null where none has started.'),
  usage: z.object({
    model_calls: count,
    input_tokens: count,
    output_tokens: count,
    cost_usd: z.string().nullable().openapi({ description: 'Exact decimal; null when any cost in it is unknown.' }),
    executions_of_unknown_cost: count,
  }),
}

export const executionStatsSchema = z
  .object({
    from: time,
    to: time,
    measured_at: time,
    ...figures,
    by_status: z.record(runStateSchema, count).openapi({ description: 'Every status, those without any included.' }),
    by_trigger: z.array(z.object({ trigger: z.string(), count })),
    by_recipe: z
      .array(
        z.object({
          recipe_id: z.uuid().nullable().openapi({ description: 'Null: executions of agents alone.' }),
          slug: z.string().nullable(),
          name: z.string().nullable(),
          ...figures,
        }),
      )
      .openapi({ description: 'The 20 with the most executions.' }),
    bucket: z.enum(['hour', 'day']),
    series: z
      .array(z.object({ at: time, total: count, succeeded: count, failed: count }))
      .openapi({ description: 'By the time of creation; a bucket without any execution is left out.' }),
    now: z
      .object({
        ready: count,
        oldest_ready_ms: count.nullable(),
        running: count,
        blocked: count.openapi({ description: 'In line for a slot of a limit.' }),
        delayed: count.openapi({ description: 'Put off by debounce or throttle.' }),
      })
      .openapi({ description: 'At this moment, whatever the window: ready for a worker, and held by one.' }),
  })
  .openapi('ExecutionStats')

export const stuckExecutionsSchema = z
  .object({
    checked_at: time,
    window_days: count.openapi({ description: 'How far back the findings go that look through executions.' }),
    findings: z.array(
      z.object({
        kind: z.enum(findingKinds),
        description: z.string(),
        count,
        executions: z
          .array(
            z.object({
              id: z.uuid(),
              status: runStateSchema,
              at: time
                .nullable()
                .openapi({ description: 'When the lease ended, when it was due, when its parent ended.' }),
              overdue_ms: count.nullable(),
              worker: z.string().nullable().openapi({ description: 'Who holds the lease, or did.' }),
            }),
          )
          .openapi({ description: 'The first 20.' }),
      }),
    ),
  })
  .openapi('StuckExecutions')

const figuresExample = {
  total: 412,
  succeeded: 398,
  failed: 9,
  retries: 3,
  success_rate: 0.9779,
  duration_ms: { p50: 2210, p95: 8400, max: 61200 },
  queue_ms: { p50: 4, p95: 31, max: 880 },
  usage: {
    model_calls: 396,
    input_tokens: 321000,
    output_tokens: 37100,
    cost_usd: '0.154211',
    executions_of_unknown_cost: 0,
  },
}
export const statsExample = {
  from: '2026-11-21T08:00:00.000Z',
  to: '2026-11-22T08:00:00.000Z',
  measured_at: '2026-11-22T08:00:00.000Z',
  ...figuresExample,
  by_status: {
    queued: 1,
    blocked: 0,
    running: 2,
    waiting: 1,
    paused: 0,
    succeeded: 398,
    failed: 8,
    canceled: 1,
    timed_out: 1,
  },
  by_trigger: [{ trigger: 'schedule', count: 412 }],
  by_recipe: [{ recipe_id: summaryExample.recipe_id, slug: 'feed-digest', name: 'Feed digest', ...figuresExample }],
  bucket: 'hour',
  series: [{ at: '2026-11-21T08:00:00.000Z', total: 17, succeeded: 17, failed: 0 }],
  now: { ready: 1, oldest_ready_ms: 12, running: 2, blocked: 0, delayed: 0 },
}
export const stuckExample = {
  checked_at: '2026-11-22T08:00:00.000Z',
  window_days: 7,
  findings: [
    {
      kind: 'lease_expired',
      description: 'Running, and its lease has run out by the clock of the database. The recovery gives it back.',
      count: 1,
      executions: [
        {
          id: summaryExample.id,
          status: 'running',
          at: '2026-11-22T07:59:58.000Z',
          overdue_ms: 2000,
          worker: 'node-4f1c',
        },
      ],
    },
  ],
}
