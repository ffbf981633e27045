import { z } from 'zod'
import { duration, tree } from './definition-fields.ts'

const key = (about: string) =>
  tree(`${about} Sees \`input\` and \`trigger\`. Default: all executions of the recipe are one.`).optional()

const concurrencyLimit = z.strictObject({
  limit: z.int().min(1).max(1000).describe('Executions that run or wait at a time; the others are blocked.'),
  key: key('Executions with the same value share the limit.'),
  on_conflict: z
    .enum(['queue', 'skip', 'cancel_previous'])
    .optional()
    .describe(
      'What a further execution does: waits its turn (queue, the default), ends at once without having run (skip), or has the oldest canceled (cancel_previous).',
    ),
})

/** What `settings` says about when an execution may start. */
export const startSettings = {
  concurrency: z
    .union([concurrencyLimit, z.array(concurrencyLimit).min(1).max(2)], {
      error: 'must be a limit or a list of at most two: one with a key and one without',
    })
    .optional()
    .describe('How many executions may be under way at a time: in all, by a key, or both as a list.'),
  priority: z
    .int()
    .min(-100)
    .max(100)
    .optional()
    .describe('Higher goes first among the executions of the workspace that are ready. Default 0.'),
  debounce: z
    .strictObject({
      period: duration('The execution starts this long after the last trigger.'),
      key: key('Triggers with the same value make one execution.'),
      max_wait: duration('It starts this long after the first trigger at the latest.').optional(),
    })
    .optional()
    .describe(
      'Triggers by the API and webhooks that come soon after each other make one execution, with the last input.',
    ),
  throttle: z
    .strictObject({
      limit: z.int().min(1).max(1000).describe('Starts in any period.'),
      period: duration('How long a period is.'),
      key: key('Executions with the same value share the limit.'),
    })
    .optional()
    .describe('Executions start at most this often; what is more starts later.'),
}
