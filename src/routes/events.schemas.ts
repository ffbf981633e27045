import { z } from '@hono/zod-openapi'
import { eventNamePattern, eventNameRule } from '../services/recipes/definition.ts'

const time = z.iso.datetime()

export const sendEventSchema = z
  .strictObject({
    name: z.string().regex(eventNamePattern, eventNameRule).openapi({ example: 'order.paid' }),
    payload: z
      .json()
      .optional()
      .openapi({
        description: 'The output of the step that waited for it. Default null.',
        type: ['object', 'array', 'string', 'number', 'boolean', 'null'],
      }),
    keep: z.string().max(60).optional().openapi({
      description: 'How long it is kept for waits that begin later: a duration, at most 30d. Default 24h.',
      example: '2h',
    }),
  })
  .openapi('SendEvent')

export const sentEventSchema = z
  .object({
    id: z.uuid(),
    name: z.string(),
    execution_id: z.uuid().nullable().openapi({ description: 'Of a signal; null for an event of the workspace.' }),
    delivered: z.int().openapi({ description: 'Waits that it has ended so far.' }),
    created_at: time,
    expires_at: time,
  })
  .openapi('SentEvent')

export const sentEventExample = {
  id: '01939f3d-2b40-7a11-8c22-3d4e5f607182',
  name: 'order.paid',
  execution_id: null,
  delivered: 1,
  created_at: '2026-11-22T08:00:00.000Z',
  expires_at: '2026-11-23T08:00:00.000Z',
}
export const sendEventExample = { name: 'order.paid', payload: { order_id: '4711', total: 89.5 } }
