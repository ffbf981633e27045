import { z } from '@hono/zod-openapi'
import { eventStream, type ServerEvent } from '../lib/event-stream.ts'
import { operation, type Reply, type RouteGroup } from '../lib/operation.ts'
import {
  eventIdPattern,
  followWorkflow,
  getWorkflow,
  seenUpTo,
  type WorkflowEvent,
} from '../services/workflows.service.ts'
import { linkTo } from './signed-link.ts'
import { workflowStatus } from './workflows.schemas.ts'

const prefix = '/api/workflows'
const eventId = z.string().regex(eventIdPattern, 'must be an id of an event of this stream').optional()

const workflowEvent = z
  .union([
    z.object({
      id: z
        .string()
        .openapi({ description: 'Number of the run in the workflow, and of the event in its log: `2.17`.' }),
      execution_id: z.uuid(),
      purpose: z.enum(['plan', 'run']).openapi({ description: 'Whether the run makes a plan or carries one out.' }),
      plan: z.int().openapi({ description: 'Number of that plan.' }),
      seq: z.int(),
      type: z.string().openapi({ description: 'As in the log of an execution.' }),
      data: z.looseObject({}).openapi({ description: 'As in the log of an execution.' }),
      created_at: z.iso.datetime(),
    }),
    z.object({
      id: z.enum(['end']).nullable(),
      type: z.enum(['workflow.status']),
      data: z.object({
        status: workflowStatus,
        plan: z.int().nullable(),
        attention: z.array(z.string()),
        error: z.looseObject({ kind: z.string(), detail: z.string() }).nullable(),
      }),
    }),
  ])
  .openapi('WorkflowEvent', { description: 'An event of one of its runs, or where the workflow stands.' })

const follow = operation(
  {
    operationId: 'followWorkflow',
    method: 'get',
    path: '/{workflow}/events',
    summary: 'Follow a workflow as server-sent events',
    description:
      'The events of all its executions as one stream: of the planner, of the plan, and of the plans that are made for the rest; from the beginning, or behind `Last-Event-ID`, then each as it happens. `workflow.status` tells where the workflow stands, behind the events that have led there, and whenever that changes; it has no id, but for the last one, behind which the stream ends and the answer is 204. A comment every 15 s keeps the connection open.',
    access: 'executions:read',
    ticket: true,
    params: z.object({ workflow: z.string().openapi({ description: 'Id of the workflow.' }) }),
    query: z.object({
      last_event_id: eventId.openapi({
        description: 'For an `EventSource` that takes up where an earlier one was; `Last-Event-ID` wins.',
        example: '1.4',
      }),
    }),
    headers: z.object({
      'last-event-id': eventId.openapi({ description: 'Id of the last event that the client has.', example: '1.4' }),
    }),
    responses: {
      200: {
        description: 'Those of executions, and workflow.status.',
        contentType: 'text/event-stream',
        schema: z.string(),
        event: { name: 'WorkflowEvent', schema: workflowEvent },
        example:
          'event: workflow.status\ndata: {"id":null,"type":"workflow.status","data":{"status":"planning","plan":null,"attention":[],"error":null}}\n\n',
      },
      204: { description: 'The workflow has ended, and the client knows.' },
    },
    problems: ['not-found'],
  },
  async (ctx, { params, query, headers, signal }): Promise<Reply> => {
    const gone = new AbortController()
    const seen = seenUpTo(headers['last-event-id'] ?? query.last_event_id)
    const events = await followWorkflow(ctx, params.workflow, seen, AbortSignal.any([signal, gone.signal]))
    if (!events) return { status: 204, headers: { 'cache-control': 'no-store' } }
    return {
      status: 200,
      contentType: 'text/event-stream',
      headers: { 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
      body: eventStream(
        serverEvents(events),
        () => gone.abort(),
        (error) => ctx.log.error('An event stream broke off.', { error, workflow_id: params.workflow }),
      ),
    }
  },
)

export const workflowEventsRoutes: RouteGroup = {
  prefix,
  tag: 'Workflows',
  description: 'What happens in a workflow, as it happens.',
  operations: [
    follow,
    linkTo(prefix, follow, {
      operationId: 'createWorkflowEventsTicket',
      summary: 'Get an address that an EventSource can follow a workflow at',
      name: 'ticket',
      check: (ctx, { workflow }) => getWorkflow(ctx, workflow!),
    }),
  ],
}

async function* serverEvents(events: AsyncGenerator<WorkflowEvent>): AsyncGenerator<ServerEvent> {
  for await (const event of events) yield { ...(event.id !== null && { id: event.id }), event: event.type, data: event }
}
