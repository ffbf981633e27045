import type { Json } from '../lib/json.ts'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { eventLimits, sendEvent } from '../services/signals.service.ts'
import { sendEventExample, sendEventSchema, sentEventExample, sentEventSchema } from './events.schemas.ts'
import { executionParams } from './executions.schemas.ts'

const sent = (example: unknown) => ({
  202: { description: 'It is stored, and has been given to those who wait for it.', schema: sentEventSchema, example },
})

export const eventsRoutes: RouteGroup = {
  prefix: '/api/events',
  tag: 'Events',
  description: 'Events that runs wait for.',
  operations: [
    operation(
      {
        operationId: 'sendEvent',
        method: 'post',
        path: '/',
        summary: 'Send an event to the runs that wait for it',
        description:
          'Every wait of the workspace for this name whose match fits gets it. It is kept, so that a wait which begins later finds it too; a run is given a kept event once. 409 where the workspace keeps as many as it may.',
        access: 'events:send',
        idempotent: 'run',
        body: sendEventSchema,
        bodyExample: sendEventExample,
        maxBodyBytes: eventLimits.payloadBytes,
        responses: sent(sentEventExample),
        problems: ['conflict'],
      },
      async (ctx, { body, headers }) => reply(202, await sendEvent(ctx, { ...requestOf(body), ...keyOf(headers) })),
    ),
  ],
}

export const signalsRoutes: RouteGroup = {
  prefix: '/api/executions',
  tag: 'Events',
  description: 'Events for one run.',
  operations: [
    operation(
      {
        operationId: 'sendSignal',
        method: 'post',
        path: '/{execution}/signals',
        summary: 'Send an event to one execution',
        description:
          'One wait of the run takes it: one that is open, or else the next that begins before `keep` is over. 409 where the run has ended, or the workspace keeps as many events as it may.',
        access: 'events:send',
        idempotent: 'run',
        params: executionParams,
        body: sendEventSchema,
        bodyExample: { name: 'go-ahead', payload: { by: 'the operator' } },
        maxBodyBytes: eventLimits.payloadBytes,
        responses: sent({
          ...sentEventExample,
          name: 'go-ahead',
          execution_id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
        }),
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, body, headers }) =>
        reply(202, await sendEvent(ctx, { execution: params.execution, ...requestOf(body), ...keyOf(headers) })),
    ),
  ],
}

const requestOf = ({ name, payload, keep }: { name: string; payload?: unknown; keep?: string | undefined }) => ({
  name,
  // Safe: the schema lets nothing but JSON through.
  payload: (payload ?? null) as Json,
  ...(keep === undefined ? {} : { keep }),
})

/** The event carries its key itself; the pipeline has checked its form. */
function keyOf(headers: unknown): { idempotencyKey?: string } {
  const key = (headers as { 'idempotency-key'?: string } | undefined)?.['idempotency-key']
  return key === undefined ? {} : { idempotencyKey: key }
}
