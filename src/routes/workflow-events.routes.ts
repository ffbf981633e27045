import { z } from '@hono/zod-openapi'
import { operation, type RouteGroup } from '../lib/operation.ts'
import { eventIdPattern, followWorkflow, getWorkflow, seenUpTo } from '../services/workflows.service.ts'
import { answerEvents, eventsOf, lastEventId } from './event-stream.ts'
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
    ...lastEventId(eventId, '1.4'),
    responses: {
      200: eventsOf(
        'Those of executions, and workflow.status.',
        { name: 'WorkflowEvent', schema: workflowEvent },
        'event: workflow.status\ndata: {"id":null,"type":"workflow.status","data":{"status":"planning","plan":null,"attention":[],"error":null}}\n\n',
      ),
      204: { description: 'The workflow has ended, and the client knows.' },
    },
    problems: ['not-found'],
  },
  async (ctx, { params: { workflow }, query, headers, signal }) => {
    const seen = seenUpTo(headers['last-event-id'] ?? query.last_event_id)
    return answerEvents(ctx, signal, {
      follow: (until) => followWorkflow(ctx, workflow, seen, until),
      idOf: (event) => event.id,
      about: { workflow_id: workflow },
    })
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
