import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import type { ModelChoice } from '../services/models/types.ts'
import {
  cancelReplay,
  createReplay,
  getReplay,
  listReplayedExecutions,
  listReplays,
} from '../services/replays.service.ts'
import {
  comparedExample,
  newReplaySchema,
  replayedExecutionSchema,
  replayExample,
  replaySchema,
} from './replays.schemas.ts'

const params = z.object({ replay: z.string().openapi({ description: 'Id of the replay.' }) })
const theReplay = { description: 'The replay.', schema: replaySchema, example: replayExample }

/** Stands before the group whose paths begin with the id of an execution. */
export const replaysRoutes: RouteGroup = {
  prefix: '/api/executions/replays',
  tag: 'Replays',
  description: 'Past executions gone through with another version or model and their recorded answers.',
  operations: [
    operation(
      {
        operationId: 'createReplay',
        method: 'post',
        path: '/',
        summary: 'Compare past executions with another version or model',
        description:
          'Goes through each execution again, in the background. Recorded answers of models, tools and requests are used where what was asked is unchanged; where it has changed the step is reported and not done. Nothing is sent anywhere, but for questions to models where `call_models` asks for them.',
        access: 'recipes:execute',
        idempotent: 'run',
        headers: z.object({
          'idempotency-key': z
            .string()
            .min(1)
            .max(200)
            .optional()
            .openapi({ description: 'The same key with the same request makes one replay.', example: 'compare-4711' }),
        }),
        body: newReplaySchema,
        bodyExample: { recipe: 'feed-digest', last: 10, recipe_version: 4 },
        responses: {
          202: {
            ...theReplay,
            headers: { Location: 'Where the replay is.' },
            example: { ...replayExample, status: 'queued' },
          },
        },
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { body, headers }) => {
        const { replay, replayed } = await createReplay(ctx, {
          recipe: body.recipe,
          last: body.last,
          callModels: body.call_models,
          ...(body.execution_ids !== undefined && { executionIds: body.execution_ids }),
          ...(body.recipe_version !== undefined && { version: body.recipe_version }),
          ...(body.model !== undefined && { model: body.model as ModelChoice }),
          ...(headers['idempotency-key'] !== undefined && { idempotencyKey: headers['idempotency-key'] }),
        })
        return reply(202, replay, {
          location: `/api/executions/replays/${replay.id}`,
          ...(replayed && { 'idempotency-replayed': 'true' }),
        })
      },
    ),
    operation(
      {
        operationId: 'listReplays',
        method: 'get',
        path: '/',
        summary: 'List the replays',
        access: 'executions:read',
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Newest first.',
            schema: pageOf(replaySchema).openapi('ReplayList'),
            example: { items: [replayExample], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listReplays(ctx, query)),
    ),
    operation(
      {
        operationId: 'getReplay',
        method: 'get',
        path: '/{replay}',
        summary: 'Get a replay',
        access: 'executions:read',
        params,
        responses: { 200: theReplay },
        problems: ['not-found'],
      },
      async (ctx, { params: { replay } }) => reply(200, await getReplay(ctx, replay)),
    ),
    operation(
      {
        operationId: 'listReplayedExecutions',
        method: 'get',
        path: '/{replay}/executions',
        summary: 'List what a replay has found, execution by execution',
        access: 'executions:read',
        params,
        query: z.object({
          limit: pageQuery.limit,
          cursor: z.coerce
            .number()
            .int()
            .min(0)
            .max(1_000_000)
            .optional()
            .openapi({ description: '`next_cursor` of the page before this one.' }),
        }),
        responses: {
          200: {
            description: 'Newest execution first.',
            schema: pageOf(replayedExecutionSchema).openapi('ComparedExecutionList'),
            example: { items: [comparedExample], next_cursor: null },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params: { replay }, query }) =>
        reply(200, await listReplayedExecutions(ctx, { id: replay, ...query })),
    ),
    operation(
      {
        operationId: 'cancelReplay',
        method: 'post',
        path: '/{replay}/cancel',
        summary: 'Cancel a replay',
        description: 'What has been compared stays. Canceling what is canceled changes nothing.',
        access: 'executions:control',
        params,
        responses: { 202: { ...theReplay, example: { ...replayExample, status: 'canceled' } } },
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params: { replay } }) => reply(202, await cancelReplay(ctx, replay)),
    ),
  ],
}
