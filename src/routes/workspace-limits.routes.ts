import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import {
  getCurrentLimits,
  getLimitsOf,
  getPlan,
  limitKinds,
  limitsTag,
  listPlans,
  planTag,
  putPlan,
  setLimitsOf,
} from '../services/workspaces.service.ts'

const amount = z.int().min(0).nullable().optional()
const limitFields = {
  agents: amount,
  recipes: amount,
  documents: amount.openapi({ description: 'Uploaded files.' }),
  members: amount.openapi({ description: 'Members, and open invitations.' }),
  api_keys: amount.openapi({ description: 'Keys that are good; the keys of persons are not counted.' }),
  storage_bytes: amount.openapi({ description: 'Of all files together.' }),
  concurrent_runs: z.int().min(1).max(100_000).nullable().optional().openapi({
    description: 'Executions that run at a time; the others wait. A workspace may set itself less.',
  }),
}
const PlanLimits = z.strictObject(limitFields).openapi('PlanLimits', {
  description: 'What is null is unlimited; what is absent too, or as the plan has it.',
})
const shownLimits = z.record(z.string(), z.number().nullable())
const Plan = z
  .object({
    slug: z.string(),
    name: z.string(),
    limits: shownLimits,
    workspaces: z.int().openapi({ description: 'How many workspaces have it.' }),
  })
  .openapi('Plan')
const PlanInput = z.strictObject({ name: z.string().trim().min(1).max(100), limits: PlanLimits }).openapi('PlanInput')
const LimitsInput = z
  .strictObject({ plan: z.string().max(63), overrides: PlanLimits.default({}) })
  .openapi('WorkspaceLimitsInput')

const Measured = z.object({ limit: z.number().nullable(), used: z.number() })
const WorkspaceLimits = z
  .object({
    plan: z.string(),
    overrides: shownLimits.openapi({ description: 'Of this workspace alone, before those of its plan.' }),
    limits: z
      .object(Object.fromEntries(limitKinds.map((kind) => [kind, Measured])))
      .openapi({ description: 'As they count, with what is used, measured now. Null = no limit.' }),
  })
  .openapi('WorkspaceLimits')

const measures = Object.fromEntries(limitKinds.map((kind) => [kind, { limit: null, used: 3 }]))
const limitsExample = { plan: 'default', overrides: {}, limits: { ...measures, agents: { limit: 20, used: 3 } } }
const planExample = { slug: 'team', name: 'Team', limits: { agents: 20, members: 10 }, workspaces: 4 }

const planParams = z.object({ plan: z.string() })
const anyWorkspace = z.object({ workspace: z.string().openapi({ description: 'Id of any workspace.' }) })

export const workspaceLimitsRoutes: RouteGroup = {
  prefix: '/api/workspaces',
  tag: 'Workspaces',
  description: 'How much a workspace may have.',
  operations: [
    operation(
      {
        operationId: 'getCurrentLimits',
        method: 'get',
        path: '/current/limits',
        summary: 'Read the limits of the workspace and what is used of them',
        access: 'workspaces:read',
        responses: { 200: { description: 'The limits.', schema: WorkspaceLimits, example: limitsExample } },
        problems: ['not-found'],
      },
      async (ctx) => reply(200, await getCurrentLimits(ctx)),
    ),
    operation(
      {
        operationId: 'getWorkspaceLimits',
        method: 'get',
        path: '/{workspace}/limits',
        summary: 'Read the limits of any workspace, as the operator',
        access: 'system:read',
        params: anyWorkspace,
        responses: { 200: { description: 'The limits.', schema: WorkspaceLimits, example: limitsExample } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params }) => {
        const limits = await getLimitsOf(ctx, params.workspace)
        return reply(200, limits, { etag: limitsTag(limits) })
      },
    ),
    operation(
      {
        operationId: 'setWorkspaceLimits',
        method: 'put',
        path: '/{workspace}/limits',
        summary: 'Give a workspace a plan, and limits of its own',
        description: 'What there is already stays where a limit is lowered: nothing more is made until it fits.',
        access: 'system:manage',
        params: anyWorkspace,
        body: LimitsInput,
        bodyExample: { plan: 'team', overrides: { agents: 50 } },
        responses: {
          200: { description: 'The limits as they are now.', schema: WorkspaceLimits, example: limitsExample },
        },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params, body, request }) => {
        const limits = await setLimitsOf(ctx, params.workspace, body, request.headers.get('if-match'))
        return reply(200, limits, { etag: limitsTag(limits) })
      },
    ),
  ],
}

export const plansRoutes: RouteGroup = {
  prefix: '/api/plans',
  tag: 'Workspaces',
  description: 'Limits by name, for the operator. New workspaces have the plan `default`.',
  operations: [
    operation(
      {
        operationId: 'listPlans',
        method: 'get',
        path: '/',
        summary: 'List the plans of the installation',
        access: 'system:read',
        responses: {
          200: {
            description: 'By name.',
            schema: z.object({ items: z.array(Plan) }).openapi('PlanList'),
            example: { items: [planExample] },
          },
        },
      },
      async (ctx) => reply(200, { items: await listPlans(ctx) }),
    ),
    operation(
      {
        operationId: 'getPlan',
        method: 'get',
        path: '/{plan}',
        summary: 'Read a plan',
        access: 'system:read',
        params: planParams,
        responses: { 200: { description: 'The plan.', schema: Plan, example: planExample } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params }) => {
        const plan = await getPlan(ctx, params.plan)
        return reply(200, plan, { etag: planTag(plan) })
      },
    ),
    operation(
      {
        operationId: 'putPlan',
        method: 'put',
        path: '/{plan}',
        summary: 'Make a plan, or replace what it says',
        access: 'system:manage',
        params: planParams,
        body: PlanInput,
        bodyExample: { name: 'Team', limits: { agents: 20, members: 10 } },
        responses: { 200: { description: 'The plan as it is now.', schema: Plan, example: planExample } },
        etag: 'change',
      },
      async (ctx, { params, body, request }) => {
        const plan = await putPlan(ctx, params.plan, body, request.headers.get('if-match'))
        return reply(200, plan, { etag: planTag(plan) })
      },
    ),
  ],
}
