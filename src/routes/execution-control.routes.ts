import { z } from '@hono/zod-openapi'
import type { ServiceContext } from '../context.ts'
import type { Json } from '../lib/json.ts'
import { operation, reply, type ResponseSpec, type RouteGroup } from '../lib/operation.ts'
import { preferHeader } from '../lib/prefer.ts'
import { getExecution, pauseRun, replayExecution, resumeRun, retryRun } from '../services/executions.service.ts'
import { pauseBodySchema, replayBodySchema, replayedExecutionSchema } from './execution-control.schemas.ts'
import { executionExample, executionParams, executionSchema, summaryExample } from './executions.schemas.ts'
import { answerStarted, endedInTime } from './started.ts'

const asked = (status: string): Record<202, ResponseSpec> => ({
  202: { description: 'The execution.', schema: executionSchema, example: { ...executionExample, status } },
})
const answer = async (ctx: ServiceContext, id: string) => reply(202, await getExecution(ctx, id))

export const executionControlRoutes: RouteGroup = {
  prefix: '/api/executions',
  tag: 'Executions',
  description: 'Runs of recipes: start, watch, cancel.',
  operations: [
    operation(
      {
        operationId: 'pauseExecution',
        method: 'post',
        path: '/{execution}/pause',
        summary: 'Pause an execution',
        description:
          'It begins no further step and holds no worker until it is resumed. A step that is under way comes to its end first: until then the status is `running`. Waits and time limits go on: what falls due meanwhile is due as soon as the execution is resumed. Pausing what is paused changes nothing.',
        access: 'executions:control',
        params: executionParams,
        body: pauseBodySchema,
        bodyOptional: true,
        bodyExample: { reason: 'The supplier is being asked' },
        responses: asked('paused'),
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, body }) => {
        await pauseRun(ctx, params.execution, body.reason ?? null)
        return answer(ctx, params.execution)
      },
    ),
    operation(
      {
        operationId: 'resumeExecution',
        method: 'post',
        path: '/{execution}/resume',
        summary: 'Resume a paused execution',
        description: 'It goes on where it stands. A pause that has not taken effect yet is withdrawn.',
        access: 'executions:control',
        params: executionParams,
        responses: asked('queued'),
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params }) => {
        await resumeRun(ctx, params.execution)
        return answer(ctx, params.execution)
      },
    ),
    operation(
      {
        operationId: 'retryExecution',
        method: 'post',
        path: '/{execution}/retry',
        summary: 'Retry a failed execution from the step that failed',
        description:
          'The same execution goes on, in its next generation: steps that succeeded are kept, those that failed or were cut off are done again under idempotency keys of their own, and the time limit begins anew.',
        access: 'executions:control',
        idempotent: 'stored',
        params: executionParams,
        responses: asked('queued'),
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params }) => {
        await retryRun(ctx, params.execution)
        return answer(ctx, params.execution)
      },
    ),
    operation(
      {
        operationId: 'replayExecution',
        method: 'post',
        path: '/{execution}/replay',
        summary: 'Run an execution once more, from any step on',
        description:
          'Makes a new execution. The steps before `from_step` have the results that they had, and are not done again; without one it begins at the beginning. With `recipe_version` it goes on in another version, with `input_data` on another input.',
        access: 'recipes:execute',
        idempotent: 'run',
        params: executionParams,
        headers: z.object({
          'idempotency-key': z
            .string()
            .min(1)
            .max(200)
            .optional()
            .openapi({ description: 'The same key with the same request starts one run.', example: 'replay-4711' }),
          ...preferHeader,
        }),
        body: replayBodySchema,
        bodyOptional: true,
        bodyExample: { from_step: 'send' },
        responses: {
          200: endedInTime,
          202: {
            description: 'The queued execution.',
            schema: replayedExecutionSchema,
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
        const started = await replayExecution(ctx, {
          id: params.execution,
          ...(body.from_step !== undefined && { from: body.from_step }),
          ...(body.recipe_version !== undefined && { version: body.recipe_version }),
          ...(body.input_data !== undefined && { input: body.input_data as Json }),
          ...(headers['idempotency-key'] !== undefined && { idempotencyKey: headers['idempotency-key'] }),
        })
        return answerStarted(ctx, started, headers.prefer, request)
      },
    ),
  ],
}
