import { z } from '@hono/zod-openapi'
import { modelWeight, operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import { defaultModel, listModels, testModel } from '../services/models.service.ts'

const price = (of: string) =>
  z
    .string()
    .nullable()
    .openapi({ description: `US dollars per million ${of}, exact decimal; null = not known.` })
const count = z.int().nullable()

const Model = z
  .object({
    provider: z.string(),
    model: z.string(),
    name: z.string(),
    context_window: count,
    max_output_tokens: count,
    capabilities: z.array(z.string()),
    input_usd: price('input tokens'),
    cached_input_usd: price('input tokens that come from the cache of the provider'),
    cache_write_usd: price('input tokens that are put into that cache'),
    output_usd: price('output tokens'),
    price_limit_tokens: count.openapi({
      description: 'Prompts above this many tokens cost more than the prices say; their cost is not computed.',
    }),
    available: z.boolean().openapi({ description: 'Whether this server has access to the provider.' }),
  })
  .openapi('Model')
const modelExample = {
  provider: 'openai',
  model: 'gpt-6.1-terra',
  name: 'GPT-6.1 Terra',
  context_window: 1_050_000,
  max_output_tokens: 128_000,
  capabilities: ['text', 'tools'],
  input_usd: '1',
  cached_input_usd: '0.05',
  cache_write_usd: '1.25',
  output_usd: '5',
  price_limit_tokens: 272_000,
  available: true,
}

const DefaultModel = z
  .object({
    provider: z.string(),
    model: z.string(),
    source: z.enum(['request', 'workspace', 'system_settings', 'environment', 'offline']),
    reason: z.string(),
    available: z.boolean(),
    simulated: z.boolean().openapi({ description: 'True for the built-in offline model.' }),
  })
  .openapi('DefaultModel')

const ModelTest = z
  .object({
    text: z.string(),
    finish_reason: z.string(),
    provider: z.string(),
    model: z.string(),
    usage: z.object({
      input_tokens: count,
      cached_input_tokens: count,
      output_tokens: count,
      reasoning_tokens: count,
    }),
    cost_usd: z.string().nullable().openapi({ description: 'Exact decimal; null when it is not known.' }),
    latency_ms: z.int(),
    simulated: z.boolean().optional(),
  })
  .openapi('ModelTest')

export const modelsRoutes: RouteGroup = {
  prefix: '/api/models',
  tag: 'Models',
  description: 'The catalogue of models, and which of them answers.',
  operations: [
    operation(
      {
        operationId: 'getDefaultModel',
        method: 'get',
        path: '/default',
        summary: 'Show which model answers by default, and why',
        access: 'models:read',
        responses: {
          200: {
            description: 'The model.',
            schema: DefaultModel,
            example: {
              provider: 'openai',
              model: 'gpt-6.1-terra',
              source: 'environment',
              reason: 'It is the first provider that is configured (OPENAI_API_KEY).',
              available: true,
              simulated: false,
            },
          },
        },
        problems: ['model-not-configured'],
      },
      async (ctx) => reply(200, await defaultModel(ctx)),
    ),
    operation(
      {
        operationId: 'testModel',
        method: 'post',
        path: '/test',
        summary: 'Make one short call to a model',
        description: 'A real call that costs what it costs. Without a body it asks the default model.',
        access: 'agents:execute',
        weight: modelWeight,
        body: z
          .strictObject({
            provider: z.string().min(1).max(100).optional(),
            model: z.string().min(1).max(200).optional().openapi({ description: 'Default: the one of the provider.' }),
          })
          .openapi('TestModel'),
        bodyOptional: true,
        bodyExample: { provider: 'openai', model: 'gpt-6.1-terra' },
        responses: {
          200: {
            description: 'What the model answered.',
            schema: ModelTest,
            example: {
              text: 'ready',
              finish_reason: 'stop',
              provider: 'openai',
              model: 'gpt-6.1-terra',
              usage: { input_tokens: 14, cached_input_tokens: 0, output_tokens: 5, reasoning_tokens: 0 },
              cost_usd: '0.000039',
              latency_ms: 612,
            },
          },
        },
        problems: ['model-not-configured', 'upstream-failed', 'timeout', 'conflict', 'budget-exceeded'],
      },
      async (ctx, { body, signal }) => reply(200, await testModel(ctx, body, signal)),
    ),
    operation(
      {
        operationId: 'listModels',
        method: 'get',
        path: '/',
        summary: 'List the catalogue of models',
        access: 'models:read',
        query: z.object({ ...pageQuery, provider: z.string().max(100).optional() }),
        responses: {
          200: {
            description: 'Models with their prices.',
            schema: pageOf(Model).openapi('ModelList'),
            example: { items: [modelExample], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listModels(ctx, query)),
    ),
  ],
}
