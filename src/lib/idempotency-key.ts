import { z } from '@hono/zod-openapi'

/**
 * How an operation makes a repeated request harmless. `stored`: what it writes and the answer are one transaction with
 * the key, and the key gives that answer again. `sealed`: the same where the request or the answer is for the caller
 * alone. `run`: the run that it starts carries the key itself, and the key gives that run again.
 */
export type Idempotency = 'stored' | 'sealed' | 'run'

export const keptHours = 24

const idempotencyHeader = {
  'idempotency-key': z
    .string()
    .min(1)
    .max(200)
    .regex(/^[\x21-\x7e]+$/, 'must be visible ASCII characters')
    .optional()
    .openapi({
      description: `The same key with the same request has its effect once, however often it is sent within ${keptHours} hours.`,
      example: 'order-4711',
    }),
}

export const replayedHeader = {
  'Idempotency-Replayed': '`true` where an earlier request with the key has done the work.',
}

/** The headers of an operation with the key, where it takes one. */
export function withIdempotencyKey(
  headers: z.ZodObject | undefined,
  idempotent: Idempotency | undefined,
): z.ZodObject | undefined {
  if (idempotent === undefined) return headers
  return (headers ?? z.object({})).extend(idempotencyHeader)
}
