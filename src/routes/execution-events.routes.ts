import { z } from '@hono/zod-openapi'
import { operation, type RouteGroup } from '../lib/operation.ts'
import { checkExecution, followExecution } from '../services/executions.service.ts'
import { answerEvents, eventsOf, lastEventId } from './event-stream.ts'
import { executionEventSchema } from './execution-events.schemas.ts'
import { executionParams } from './executions.schemas.ts'
import { linkTo } from './signed-link.ts'

const prefix = '/api/executions'
const eventId = z.coerce
  .number()
  .int()
  .min(0)
  .max(2 ** 31 - 1)
  .optional()

const follow = operation(
  {
    operationId: 'followExecution',
    method: 'get',
    path: '/{execution}/events',
    summary: 'Follow an execution as server-sent events',
    description:
      'Every event of the run from the beginning, or behind `Last-Event-ID`, then each as it happens. The stream ends after the event that ends the run. Event ids count up without a gap. A comment every 15 s keeps the connection open. Behind the last event the answer is 204, at which an `EventSource` stops connecting again.',
    access: 'executions:read',
    ticket: true,
    params: executionParams,
    ...lastEventId(eventId, 0),
    responses: {
      200: eventsOf(
        'The events: execution.*, step.*, text.delta, tool.call, tool.result, usage, log.',
        { name: 'ExecutionEvent', schema: executionEventSchema },
        'id: 2\nevent: execution.started\ndata: {"seq":2,"type":"execution.started","data":{},"created_at":"2026-11-22T08:00:00.012Z"}\n\n',
      ),
      204: { description: 'The run has ended, and the client has its last event.' },
    },
    problems: ['not-found'],
  },
  async (ctx, { params: { execution }, query, headers, signal }) => {
    const seen = headers['last-event-id'] ?? query.last_event_id ?? 0
    return answerEvents(ctx, signal, {
      follow: (until) => followExecution(ctx, execution, seen, until),
      idOf: (event) => String(event.seq),
      about: { run_id: execution },
    })
  },
)

export const executionEventsRoutes: RouteGroup = {
  prefix,
  tag: 'Executions',
  description: 'The events of a run, as they happen.',
  operations: [
    follow,
    linkTo(prefix, follow, {
      operationId: 'createEventsTicket',
      summary: 'Get an address that an EventSource can follow an execution at',
      name: 'ticket',
      check: (ctx, { execution }) => checkExecution(ctx, execution!),
    }),
  ],
}
