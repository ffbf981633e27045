import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { instant } from '../lib/time-range.ts'
import { executionStats, findStuck } from '../services/executions.service.ts'
import { executionStatsSchema, statsExample, stuckExample, stuckExecutionsSchema } from './execution-stats.schemas.ts'

/** Stands before the group whose paths begin with the id of an execution. */
export const executionStatsRoutes: RouteGroup = {
  prefix: '/api/executions',
  tag: 'Executions',
  description: 'Runs of recipes: start, watch, cancel.',
  operations: [
    operation(
      {
        operationId: 'getExecutionStats',
        method: 'get',
        path: '/stats',
        summary: 'Get the figures of the executions of a time',
        description:
          'Counted from the rows of the executions that were created in the window, at the moment of the request. What was not measured is null.',
        access: 'executions:read',
        query: z.object({
          from: instant().optional().openapi({ description: 'Default: a day before `to`. At most 93 days before it.' }),
          to: instant().optional().openapi({ description: 'Default: now.' }),
          recipe_id: z.string().optional().openapi({ description: 'Id or slug of a recipe.' }),
        }),
        responses: { 200: { description: 'The figures.', schema: executionStatsSchema, example: statsExample } },
        problems: ['not-found'],
      },
      async (ctx, { query: { from, to, recipe_id } }) =>
        reply(200, await executionStats(ctx, { from, to, recipe: recipe_id })),
    ),
    operation(
      {
        operationId: 'findStuckExecutions',
        method: 'get',
        path: '/stuck',
        summary: 'Find executions that are stuck or orphaned',
        description:
          'By facts of the database alone: leases that have run out, times that are past, rows that contradict each other. Nothing is found for being old. A finding that the next tick settles, such as `lease_expired` and `wait_overdue`, is a fault only where it stays.',
        access: 'executions:read',
        query: z.object({
          days: z.coerce.number().int().min(1).max(93).default(7).openapi({
            description: 'How far back to look for executions that nothing points to any more.',
            example: 7,
          }),
        }),
        responses: {
          200: {
            description: 'Every finding, also those without any.',
            schema: stuckExecutionsSchema,
            example: stuckExample,
          },
        },
      },
      async (ctx, { query }) => reply(200, await findStuck(ctx, query)),
    ),
  ],
}
