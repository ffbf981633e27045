import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import type { Json } from '../lib/json.ts'
import { preferHeader } from '../lib/prefer.ts'
import {
  cancelExecution,
  executeRecipe,
  getExecution,
  listExecutions,
  listExecutionSteps,
} from '../services/executions.service.ts'
import { answerStarted, endedInTime } from './started.ts'
import {
  cancelBodySchema,
  executionExample,
  executionParams,
  executionSchema,
  executionStepSchema,
  executionSummarySchema,
  prioritySchema,
  runStateSchema,
  startedExecutionSchema,
  summaryExample,
} from './executions.schemas.ts'

const recipeParams = z.object({ recipe: z.string().openapi({ description: 'Id or slug of the recipe.' }) })
const ExecutionList = pageOf(executionSummarySchema).openapi('ExecutionList')

export const recipeExecutionsRoutes: RouteGroup = {
  prefix: '/api/workflow-recipes',
  tag: 'Executions',
  description: 'Runs of recipes: start, watch, cancel.',
  operations: [
    operation(
      {
        operationId: 'executeRecipe',
        method: 'post',
        path: '/{recipe}/execute',
        summary: 'Start an execution of a recipe',
        description:
          'Queues a run of the latest version and answers at once, or with `Prefer: wait=30` once it has ended, however it ended. `Idempotency-Key` makes a repeated request answer the run it made before.',
        access: 'recipes:execute',
        idempotent: 'run',
        params: recipeParams,
        headers: z.object({
          'idempotency-key': z
            .string()
            .min(1)
            .max(200)
            .optional()
            .openapi({ description: 'The same key with the same request starts one run.', example: 'order-4711' }),
          ...preferHeader,
        }),
        body: z
          .strictObject({
            input_data: z
              .json()
              .optional()
              .openapi({ description: 'Checked against the `inputs` of the recipe.', type: 'object' }),
            state_key: z
              .string()
              .min(1)
              .max(200)
              .optional()
              .openapi({ description: 'Runs with the same key share `previous`.' }),
            priority: prioritySchema
              .optional()
              .openapi({ description: 'Higher goes first. Default: `settings.priority` of the recipe.' }),
          })
          .openapi('ExecuteRecipe'),
        bodyOptional: true,
        bodyExample: { input_data: { feed_url: 'https://example.org/feed.xml' } },
        responses: {
          200: endedInTime,
          202: {
            description: 'The queued execution.',
            schema: startedExecutionSchema,
            headers: { Location: 'Where the execution is.' },
            example: {
              id: summaryExample.id,
              execution_id: summaryExample.id,
              recipe_id: summaryExample.recipe_id,
              recipe_version: 3,
              status: 'queued',
            },
          },
        },
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, body, headers, request }) => {
        const started = await executeRecipe(ctx, {
          recipe: params.recipe,
          input: (body.input_data ?? {}) as Json,
          ...(body.state_key === undefined ? {} : { stateKey: body.state_key }),
          ...(body.priority === undefined ? {} : { priority: body.priority }),
          ...(headers['idempotency-key'] === undefined ? {} : { idempotencyKey: headers['idempotency-key'] }),
        })
        return answerStarted(ctx, started, headers.prefer, request)
      },
    ),
    operation(
      {
        operationId: 'listRecipeExecutions',
        method: 'get',
        path: '/{recipe}/executions',
        summary: 'List the executions of a recipe',
        access: 'executions:read',
        params: recipeParams,
        query: z.object({ ...pageQuery, status: runStateSchema.optional() }),
        responses: {
          200: {
            description: 'Newest first.',
            schema: ExecutionList,
            example: { items: [summaryExample], next_cursor: null },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params, query }) => reply(200, await listExecutions(ctx, { ...query, recipe: params.recipe })),
    ),
  ],
}

export const executionsRoutes: RouteGroup = {
  prefix: '/api/executions',
  tag: 'Executions',
  description: 'Runs of recipes: start, watch, cancel.',
  operations: [
    operation(
      {
        operationId: 'listExecutions',
        method: 'get',
        path: '/',
        summary: 'List executions',
        access: 'executions:read',
        query: z.object({
          ...pageQuery,
          status: runStateSchema.optional(),
          recipe_id: z.string().optional().openapi({ description: 'Id or slug of a recipe.' }),
          schedule_id: z.uuid().optional(),
        }),
        responses: {
          200: {
            description: 'Newest first.',
            schema: ExecutionList,
            example: { items: [summaryExample], next_cursor: null },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { query }) =>
        reply(200, await listExecutions(ctx, { ...query, recipe: query.recipe_id, scheduleId: query.schedule_id })),
    ),
    operation(
      {
        operationId: 'getExecution',
        method: 'get',
        path: '/{execution}',
        summary: 'Get an execution with its steps',
        description: 'Shows the first 500 steps; `steps_total` counts all, `GET …/steps` pages through them.',
        access: 'executions:read',
        params: executionParams,
        responses: { 200: { description: 'The execution.', schema: executionSchema, example: executionExample } },
        problems: ['not-found'],
      },
      async (ctx, { params }) => reply(200, await getExecution(ctx, params.execution)),
    ),
    operation(
      {
        operationId: 'listExecutionSteps',
        method: 'get',
        path: '/{execution}/steps',
        summary: 'List the steps of an execution',
        access: 'executions:read',
        params: executionParams,
        query: z.object({
          limit: pageQuery.limit,
          cursor: z
            .string()
            .max(2000)
            .optional()
            .openapi({ description: '`next_cursor` of the page before this one.' }),
        }),
        responses: {
          200: {
            description: 'In the order of their paths.',
            schema: pageOf(executionStepSchema).openapi('ExecutionStepList'),
            example: { items: executionExample.steps, next_cursor: null },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params, query }) => reply(200, await listExecutionSteps(ctx, { id: params.execution, ...query })),
    ),
    operation(
      {
        operationId: 'cancelExecution',
        method: 'post',
        path: '/{execution}/cancel',
        summary: 'Cancel an execution',
        description:
          'A run that no worker holds ends at once. One that is being worked on has its effects aborted within about a second. So do the executions that its steps have started. Canceling what has ended changes nothing.',
        access: 'executions:control',
        params: executionParams,
        body: cancelBodySchema,
        bodyOptional: true,
        bodyExample: { reason: 'No longer needed' },
        responses: { 202: { description: 'The execution.', schema: executionSchema, example: executionExample } },
        problems: ['not-found'],
      },
      async (ctx, { params, body }) =>
        reply(202, await cancelExecution(ctx, params.execution, body.reason ?? 'canceled by request')),
    ),
  ],
}
