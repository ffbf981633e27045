import { z } from '@hono/zod-openapi'
import { operation, reply, type Operation, type RouteGroup } from '../lib/operation.ts'
import { pageQuery } from '../lib/pagination.ts'
import { editPlan, getPlan, listPlans, planTag } from '../services/workflows.service.ts'
import { Plan, PlanInput, PlanList, PlanPatch } from './workflows.schemas.ts'
import { examples } from './workflows.examples.ts'

const params = z.object({ workflow: z.string().openapi({ description: 'Id of the workflow.' }) })
const numberParams = params.extend({ plan: z.string().openapi({ description: 'Number of the plan.' }) })

const edit = (method: 'put' | 'patch'): Operation =>
  operation(
    {
      operationId: method === 'put' ? 'replaceWorkflowPlan' : 'editWorkflowPlan',
      method,
      path: '/{workflow}/plan',
      summary: method === 'put' ? 'Put another plan in the place of the latest one' : 'Change the latest plan',
      description:
        (method === 'put'
          ? 'What is not given is gone. '
          : 'Members that are given change, null takes one away; steps are replaced whole. ') +
        'Makes the next plan; the one before it stays readable. Only while the workflow waits for approval. Every fault is listed at once, by JSON pointer.',
      access: 'recipes:write',
      params,
      body: method === 'put' ? PlanInput : PlanPatch,
      bodyExample: method === 'put' ? examples.planMembers : { steps: examples.planMembers.steps },
      responses: { 200: { description: 'The new plan.', schema: Plan, example: examples.editedPlan } },
      etag: 'change',
      problems: ['not-found', 'conflict'],
    },
    async (ctx, { params, body, request }) => {
      const ifMatch = request.headers.get('if-match')
      const plan = await editPlan(ctx, params.workflow, body, { replace: method === 'put', ifMatch })
      return reply(200, plan, { etag: planTag(plan) })
    },
  )

export const workflowPlansRoutes: RouteGroup = {
  prefix: '/api/workflows',
  tag: 'Workflows',
  description: 'Plans of a workflow: every one is kept.',
  operations: [
    operation(
      {
        operationId: 'getWorkflowPlan',
        method: 'get',
        path: '/{workflow}/plan',
        summary: 'Read the latest plan of a workflow',
        access: 'recipes:read',
        params,
        responses: { 200: { description: 'The plan.', schema: Plan, example: examples.plan } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params }) => {
        const plan = await getPlan(ctx, params.workflow)
        return reply(200, plan, { etag: planTag(plan) })
      },
    ),
    edit('put'),
    edit('patch'),
    operation(
      {
        operationId: 'listWorkflowPlans',
        method: 'get',
        path: '/{workflow}/plans',
        summary: 'List all plans of a workflow',
        access: 'recipes:read',
        params,
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Plans, newest first.',
            schema: PlanList,
            example: { items: [examples.plan], next_cursor: null },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params, query }) => reply(200, await listPlans(ctx, params.workflow, query)),
    ),
    operation(
      {
        operationId: 'getWorkflowPlanByNumber',
        method: 'get',
        path: '/{workflow}/plans/{plan}',
        summary: 'Read one plan of a workflow',
        access: 'recipes:read',
        params: numberParams,
        responses: { 200: { description: 'The plan.', schema: Plan, example: examples.plan } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params }) => {
        const plan = await getPlan(ctx, params.workflow, params.plan)
        return reply(200, plan, { etag: planTag(plan) })
      },
    ),
  ],
}
