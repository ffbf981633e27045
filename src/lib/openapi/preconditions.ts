import { z } from '@hono/zod-openapi'
import { withIdempotencyKey } from '../idempotency-key.ts'
import type { Operation } from '../operation.ts'

export const etagHeader = { ETag: 'The version of the resource, for `If-None-Match` and `If-Match`.' }

export const notModified = {
  description: 'The copy that `If-None-Match` names is still good.',
  headers: { ETag: { description: etagHeader.ETag, schema: { type: 'string' as const } } },
}

const preconditions = {
  read: {
    'if-none-match': z
      .string()
      .optional()
      .openapi({ description: 'An `ETag` from before: 304 without a body while it is current.' }),
  },
  change: {
    'if-match': z.string().optional().openapi({
      description:
        'An `ETag` from before: 412 where the resource has been changed since. Without it the change is made.',
    }),
  },
}

/** The headers of an operation with those that its ETag and its key bring along. */
export function withPrecondition({ headers: own, etag, idempotent }: Operation): z.ZodObject | undefined {
  const headers = withIdempotencyKey(own, idempotent)
  if (etag === undefined || etag === 'create') return headers
  return (headers ?? z.object({})).extend(preconditions[etag])
}
