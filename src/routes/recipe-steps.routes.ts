import { z } from '@hono/zod-openapi'
import type { Json, JsonObject } from '../lib/json.ts'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { testRecipeStep } from '../services/recipes.service.ts'

const anyObject = (description: string) => z.looseObject({}).optional().openapi({ description })

const stepTestSchema = z
  .strictObject({
    recipe_version: z.int().min(1).optional().openapi({ description: 'Default: the latest version.' }),
    input_data: z
      .json()
      .optional()
      .openapi({ description: 'Checked against the `inputs` of the recipe.', type: 'object' }),
    outputs: anyObject('What other steps gave, by their id: `{"fetch": {"status": 200, "body": {}}}`.'),
    variables: anyObject('Of a step inside a foreach: its loop variables.'),
    trigger: anyObject('What `trigger` is in expressions. Default `{"kind": "test"}`.'),
  })
  .openapi('StepTest')

const stepTestResultSchema = z
  .object({
    step_id: z.string(),
    kind: z.string(),
    recipe_version: z.int(),
    status: z
      .enum(['succeeded', 'failed', 'skipped', 'waiting'])
      .openapi({ description: '`waiting`: a run would rest here.' }),
    output: z.json().openapi({ type: ['object', 'array', 'string', 'number', 'boolean', 'null'] }),
    error: z.looseObject({ kind: z.string(), detail: z.string() }).nullable(),
    duration_ms: z.int(),
    usage: z.looseObject({
      model_calls: z.int(),
      input_tokens: z.int(),
      output_tokens: z.int(),
      cost_usd: z.string().nullable().openapi({ description: 'Exact decimal; null when any cost is unknown.' }),
    }),
    log: z
      .array(z.object({ type: z.string(), data: z.looseObject({}) }))
      .openapi({ description: 'What the step logged, and the tools that it called.' }),
  })
  .openapi('StepTestResult')

export const recipeStepsRoutes: RouteGroup = {
  prefix: '/api/workflow-recipes',
  tag: 'Recipes',
  description: 'Steps, tried one by one.',
  operations: [
    operation(
      {
        operationId: 'testRecipeStep',
        method: 'post',
        path: '/{recipe}/steps/{step}/test',
        summary: 'Run one step of a recipe by itself',
        description:
          'Once, with what the steps before it gave as it is given here. The effect is real: a request is sent, a model is asked. No execution is made of it and no result is stored; only the cost of model calls is noted. Steps that need an execution to wait in (approvals, events, other recipes) are refused. It may take two minutes. Loops take 100 items together; `log` tells where there were more. Two of a workspace run at a time; more are refused with 429 and `Retry-After`.',
        access: 'recipes:execute',
        params: z.object({
          recipe: z.string().max(100).openapi({ description: 'Slug or id.', example: 'morning-digest' }),
          step: z.string().max(100).openapi({ description: 'Id of a step.', example: 'note' }),
        }),
        body: stepTestSchema,
        bodyOptional: true,
        bodyExample: { variables: { item: { title: 'Rain tomorrow' } } },
        responses: {
          200: {
            description: 'What the step gave, or why it failed.',
            schema: stepTestResultSchema,
            example: {
              step_id: 'note',
              kind: 'agent',
              recipe_version: 1,
              status: 'succeeded',
              output: { text: 'Rain is expected.', model: 'gpt-5-mini', provider: 'openai', rounds: 1 },
              error: null,
              duration_ms: 812,
              usage: { model_calls: 1, input_tokens: 64, output_tokens: 9, cost_usd: '0.000034' },
              log: [],
            },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params, body, request }) =>
        reply(
          200,
          await testRecipeStep(ctx, {
            recipe: params.recipe,
            step: params.step,
            ...(body.recipe_version !== undefined && { version: body.recipe_version }),
            input: (body.input_data ?? {}) as Json,
            outputs: (body.outputs ?? {}) as JsonObject,
            variables: (body.variables ?? {}) as JsonObject,
            trigger: (body.trigger ?? { kind: 'test' }) as JsonObject,
            signal: request.signal,
          }),
        ),
    ),
  ],
}
