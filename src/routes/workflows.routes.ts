import { z } from '@hono/zod-openapi'
import { operation, reply, type Reply, type RouteGroup } from '../lib/operation.ts'
import { pageQuery } from '../lib/pagination.ts'
import {
  approveWorkflow,
  cancelWorkflow,
  createWorkflow,
  deleteWorkflow,
  duplicateWorkflow,
  getResult,
  getWorkflow,
  listActive,
  listWorkflows,
  pauseWorkspace,
  resumeWorkspace,
  updateWorkflow,
  workflowStats,
  workflowTag,
} from '../services/workflows.service.ts'
import {
  ActiveWorkflows,
  NewWorkflow,
  PauseBody,
  PauseState,
  Result,
  Stats,
  Workflow,
  WorkflowChange,
  WorkflowList,
  workflowStatus,
} from './workflows.schemas.ts'
import { examples } from './workflows.examples.ts'

const params = z.object({ workflow: z.string().openapi({ description: 'Id of the workflow.' }) })
const theWorkflow = { description: 'The workflow.', schema: Workflow, example: examples.workflow }

const answer = (status: number, workflow: Awaited<ReturnType<typeof getWorkflow>>): Reply =>
  reply(status, workflow, {
    etag: workflowTag(workflow),
    ...(status === 202 && { location: `/api/workflows/${workflow.id}` }),
  })
const ifMatch = (request: Request) => request.headers.get('if-match')

export const workflowsRoutes: RouteGroup = {
  prefix: '/api/workflows',
  tag: 'Workflows',
  description:
    'A goal in plain words becomes a plan, which is approved and run by the engine. See `docs/workflows.md`.',
  operations: [
    operation(
      {
        operationId: 'createWorkflow',
        method: 'post',
        path: '/',
        summary: 'Give a goal to be planned',
        description:
          'Answers as soon as it is certain that the goal will be planned. The plan is read at `/plan`; the execution of the planner tells how it goes. It needs recipes:execute besides recipes:write, as the planner is run.',
        access: 'recipes:write',
        idempotent: 'stored',
        body: NewWorkflow,
        bodyExample: examples.create,
        responses: {
          202: {
            description: 'The workflow, which is being planned.',
            schema: Workflow,
            headers: { location: 'The address of the workflow.' },
            example: examples.planning,
          },
        },
        etag: 'create',
        problems: ['conflict', 'limit-reached'],
      },
      async (ctx, { body }) => answer(202, await createWorkflow(ctx, body)),
    ),
    operation(
      {
        operationId: 'listWorkflows',
        method: 'get',
        path: '/',
        summary: 'List the workflows of the workspace',
        access: 'recipes:read',
        query: z.object({
          ...pageQuery,
          status: workflowStatus.optional(),
          q: z.string().min(1).max(200).optional().openapi({ description: 'Part of the name or the goal.' }),
        }),
        responses: {
          200: {
            description: 'Workflows, newest first.',
            schema: WorkflowList,
            example: { items: [examples.workflow], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listWorkflows(ctx, query)),
    ),
    operation(
      {
        operationId: 'listActiveWorkflows',
        method: 'get',
        path: '/active',
        summary: 'List the workflows that have not ended, with their progress',
        access: 'recipes:read',
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Workflows, newest first.',
            schema: ActiveWorkflows,
            example: { items: [examples.running], next_cursor: null, paused: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listActive(ctx, query)),
    ),
    operation(
      {
        operationId: 'getWorkflowStats',
        method: 'get',
        path: '/stats/dashboard',
        summary: 'Read what workflows have come to',
        description: 'Counted from rows. Null where nothing was measured.',
        access: 'recipes:read',
        query: z.object({
          days: z.coerce.number().int().min(1).max(365).default(30).openapi({ description: 'Of these last days.' }),
        }),
        responses: { 200: { description: 'The figures.', schema: Stats, example: examples.stats } },
      },
      async (ctx, { query }) => reply(200, await workflowStats(ctx, query.days)),
    ),
    operation(
      {
        operationId: 'pauseWorkspace',
        method: 'post',
        path: '/pause',
        summary: 'Pause the whole workspace',
        description:
          'No execution of the workspace is taken up and no workflow goes on until it is resumed. What triggers start meanwhile is recorded and waits. Executions under way go on until they end or wait.',
        access: 'executions:control',
        body: PauseBody,
        bodyOptional: true,
        bodyExample: { reason: 'Maintenance' },
        responses: { 200: { description: 'The pause.', schema: PauseState, example: { paused: examples.paused } } },
      },
      async (ctx, { body }) => reply(200, await pauseWorkspace(ctx, body.reason ?? null)),
    ),
    operation(
      {
        operationId: 'resumeWorkspace',
        method: 'post',
        path: '/resume',
        summary: 'Resume the workspace after a pause',
        access: 'executions:control',
        responses: { 200: { description: 'It works again.', schema: PauseState, example: { paused: null } } },
      },
      async (ctx) => reply(200, await resumeWorkspace(ctx)),
    ),
    operation(
      {
        operationId: 'getWorkflow',
        method: 'get',
        path: '/{workflow}',
        summary: 'Read a workflow',
        access: 'recipes:read',
        params,
        responses: { 200: theWorkflow },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params }) => answer(200, await getWorkflow(ctx, params.workflow)),
    ),
    operation(
      {
        operationId: 'updateWorkflow',
        method: 'patch',
        path: '/{workflow}',
        summary: 'Change the name, the approval or the budget of a workflow',
        description: 'What is not given stays; null removes the budget. Plans that wait already go on waiting.',
        access: 'recipes:write',
        params,
        body: WorkflowChange,
        bodyExample: { name: 'News of the week', budget_usd: '1.00' },
        responses: { 200: theWorkflow },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params, body, request }) =>
        answer(200, await updateWorkflow(ctx, params.workflow, body, ifMatch(request))),
    ),
    operation(
      {
        operationId: 'deleteWorkflow',
        method: 'delete',
        path: '/{workflow}',
        summary: 'Delete a workflow and its plans',
        description: 'Its executions stay. One that is being planned or runs is canceled first.',
        access: 'recipes:write',
        params,
        responses: { 204: { description: 'The workflow is gone.' } },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, request }) => {
        await deleteWorkflow(ctx, params.workflow, ifMatch(request))
        return reply(204)
      },
    ),
    operation(
      {
        operationId: 'approveWorkflow',
        method: 'post',
        path: '/{workflow}/approve',
        summary: 'Approve the latest plan, which then runs',
        access: 'recipes:execute',
        idempotent: 'stored',
        params,
        body: z
          .strictObject({
            plan: z
              .int()
              .min(1)
              .optional()
              .openapi({ description: 'Number of the plan that was looked at: another latest one is a conflict.' }),
          })
          .openapi('ApproveWorkflow'),
        bodyOptional: true,
        bodyExample: { plan: 1 },
        responses: { 200: { ...theWorkflow, example: examples.running } },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, body, request }) =>
        answer(200, await approveWorkflow(ctx, params.workflow, body, ifMatch(request))),
    ),
    operation(
      {
        operationId: 'cancelWorkflow',
        method: 'post',
        path: '/{workflow}/cancel',
        summary: 'Cancel a workflow, or turn its plan down',
        description: 'What runs for it is canceled with it.',
        access: 'executions:control',
        params,
        body: z.strictObject({ reason: z.string().trim().min(1).max(500).optional() }).openapi('CancelWorkflow'),
        bodyOptional: true,
        bodyExample: { reason: 'No longer needed.' },
        responses: { 200: { ...theWorkflow, example: examples.canceled } },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, body, request }) =>
        answer(
          200,
          await cancelWorkflow(ctx, params.workflow, body.reason ?? 'Canceled through the API.', ifMatch(request)),
        ),
    ),
    operation(
      {
        operationId: 'duplicateWorkflow',
        method: 'post',
        path: '/{workflow}/duplicate',
        summary: 'Copy a workflow with its plan',
        description:
          'The copy has the same goal and the latest plan of the whole, and waits for approval. Where there is no plan yet it is planned. Needs recipes:execute besides recipes:write.',
        access: 'recipes:write',
        idempotent: 'stored',
        params,
        body: z.strictObject({ name: NewWorkflow.shape.name }).openapi('DuplicateWorkflow'),
        bodyOptional: true,
        bodyExample: { name: 'The same once more' },
        responses: {
          202: { ...theWorkflow, headers: { location: 'The address of the copy.' } },
        },
        etag: 'create',
        problems: ['not-found', 'limit-reached'],
      },
      async (ctx, { params, body }) => answer(202, await duplicateWorkflow(ctx, params.workflow, body)),
    ),
    operation(
      {
        operationId: 'getWorkflowResult',
        method: 'get',
        path: '/{workflow}/result',
        summary: 'Read what came of a workflow, and who did which part',
        description:
          'The steps of all plans that ran, in their order: agent, models, cost and times of each, as they were recorded.',
        access: 'executions:read',
        params,
        responses: { 200: { description: 'The result so far.', schema: Result, example: examples.result } },
        problems: ['not-found'],
      },
      async (ctx, { params }) => reply(200, await getResult(ctx, params.workflow)),
    ),
  ],
}
