import { z } from '@hono/zod-openapi'
import { eventStream, type ServerEvent } from '../lib/event-stream.ts'
import { operation, type Reply, type RouteGroup } from '../lib/operation.ts'
import { checkExecution, followExecution } from '../services/executions.service.ts'
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
    query: z.object({
      last_event_id: eventId.openapi({
        description: 'For an `EventSource` that takes up where an earlier one was; `Last-Event-ID` wins.',
        example: 0,
      }),
    }),
    headers: z.object({
      'last-event-id': eventId.openapi({ description: 'Id of the last event that the client has.', example: 0 }),
    }),
    responses: {
      200: {
        description: 'The events: execution.*, step.*, text.delta, tool.call, tool.result, usage, log.',
        contentType: 'text/event-stream',
        schema: z.string(),
        event: { name: 'ExecutionEvent', schema: executionEventSchema },
        example:
          'id: 2\nevent: execution.started\ndata: {"seq":2,"type":"execution.started","data":{},"created_at":"2026-11-22T08:00:00.012Z"}\n\n',
      },
      204: { description: 'The run has ended, and the client has its last event.' },
    },
    problems: ['not-found'],
  },
  async (ctx, { params, query, headers, signal }): Promise<Reply> => {
    const gone = new AbortController()
    const events = await followExecution(
      ctx,
      params.execution,
      headers['last-event-id'] ?? query.last_event_id ?? 0,
      AbortSignal.any([signal, gone.signal]),
    )
    if (!events) return { status: 204, headers: { 'cache-control': 'no-store' } }
    return {
      status: 200,
      contentType: 'text/event-stream',
      headers: { 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
      body: eventStream(
        serverEvents(events),
        () => gone.abort(),
        (error) => ctx.log.error('An event stream broke off.', { error, run_id: params.execution }),
      ),
    }
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

async function* serverEvents(
  events: NonNullable<Awaited<ReturnType<typeof followExecution>>>,
): AsyncGenerator<ServerEvent> {
  for await (const event of events) yield { id: String(event.seq), event: event.type, data: event }
}
