import { z } from '@hono/zod-openapi'
import { operation, reply, type Reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import {
  budgetTag,
  createBudget,
  deleteBudget,
  getBudget,
  listBudgets,
  updateBudget,
  type Budget as BudgetView,
} from '../services/budgets.service.ts'
import { Budget, BudgetChanges, examples, NewBudget, scopeType } from './budgets.schemas.ts'

const params = z.object({ budget: z.string().openapi({ description: 'Id of the budget.' }) })
const theBudget = { description: 'The budget.', schema: Budget, example: examples.budget }
const answer = (budget: BudgetView): Reply => reply(200, budget, { etag: budgetTag(budget) })

export const budgetsRoutes: RouteGroup = {
  prefix: '/api/budgets',
  tag: 'Budgets',
  description: 'What model calls may cost: of the workspace, a key, an agent or a recipe, in each window.',
  operations: [
    operation(
      {
        operationId: 'createBudget',
        method: 'post',
        path: '/',
        summary: 'Set a budget',
        description:
          'Before each call of a model its highest cost is reserved in every budget that it counts for. What was spent in the window before counts.',
        access: 'budgets:manage',
        body: NewBudget,
        bodyExample: examples.create,
        responses: { 201: { ...theBudget, headers: { location: 'The address of the budget.' } } },
        etag: 'create',
        idempotent: 'stored',
        problems: ['conflict'],
      },
      async (ctx, { body }) => {
        const budget = await createBudget(ctx, body)
        return reply(201, budget, { location: `/api/budgets/${budget.id}`, etag: budgetTag(budget) })
      },
    ),
    operation(
      {
        operationId: 'listBudgets',
        method: 'get',
        path: '/',
        summary: 'List the budgets of the workspace',
        access: 'budgets:read',
        query: z.object({
          ...pageQuery,
          scope: scopeType.optional().openapi({ description: 'Only those for one of these.', example: 'agent' }),
        }),
        responses: {
          200: {
            description: 'Newest first.',
            schema: pageOf(Budget).openapi('BudgetList'),
            example: examples.budgets,
          },
        },
      },
      async (ctx, { query }) => reply(200, await listBudgets(ctx, query)),
    ),
    operation(
      {
        operationId: 'getBudget',
        method: 'get',
        path: '/{budget}',
        summary: 'Read a budget and what is left of it',
        access: 'budgets:read',
        params,
        responses: { 200: theBudget },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params: { budget } }) => answer(await getBudget(ctx, budget)),
    ),
    operation(
      {
        operationId: 'updateBudget',
        method: 'patch',
        path: '/{budget}',
        summary: 'Change a budget',
        description: 'What is not named stays. Executions that wait for it look again at once.',
        access: 'budgets:manage',
        params,
        body: BudgetChanges,
        bodyExample: examples.change,
        responses: { 200: theBudget },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params: { budget }, body, request }) =>
        answer(await updateBudget(ctx, budget, body, request.headers.get('if-match'))),
    ),
    operation(
      {
        operationId: 'deleteBudget',
        method: 'delete',
        path: '/{budget}',
        summary: 'Remove a budget',
        access: 'budgets:manage',
        params,
        responses: { 204: { description: 'It bounds nothing any more; executions that wait for it go on.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params: { budget }, request }) => {
        await deleteBudget(ctx, budget, request.headers.get('if-match'))
        return reply(204)
      },
    ),
  ],
}
