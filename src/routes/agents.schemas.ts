import { z } from '@hono/zod-openapi'
import { keptAsJson } from '../lib/kept-as-json.ts'
import { faultsOfAgent, type AgentFields } from '../services/agents.service.ts'
import { modelChoiceSchema } from '../services/recipes/definition.ts'

// A copy: schemas of services know nothing of OpenAPI, and one made before its extension was loaded lacks the method.
export const ModelChoice = modelChoiceSchema.clone().openapi('ModelChoice')

const limits = {
  max_rounds: z.int().min(1).max(100).openapi({ description: 'Model rounds of one execution. Default 10.' }),
  max_output_tokens: z
    .int()
    .min(1)
    .max(10_000_000)
    .openapi({ description: 'Tokens that all rounds of one execution may write together.' }),
  timeout: z.string().min(1).max(60).openapi({ description: 'Longest time of one attempt: 30s, 5m.' }),
}
const Limits = z
  .strictObject({
    max_rounds: limits.max_rounds.optional(),
    max_output_tokens: limits.max_output_tokens.optional(),
    timeout: limits.timeout.optional(),
  })
  .openapi('AgentLimits')
const LimitChanges = z
  .strictObject({
    max_rounds: limits.max_rounds.nullish(),
    max_output_tokens: limits.max_output_tokens.nullish(),
    timeout: limits.timeout.nullish(),
  })
  .openapi('AgentLimitChanges')

/** Looks at what a field means together with the shapes of the others, so that one answer names all faults. */
const means =
  <K extends keyof AgentFields>(field: K) =>
  (value: unknown, context: z.RefinementCtx): void => {
    // The shape of this field has been checked by then.
    for (const { pointer, detail } of faultsOfAgent({ [field]: value } as Partial<AgentFields>)) {
      const path = pointer.split('/').slice(2)
      // Of a model the schema sees some of it already.
      const isKnown = context.issues.some((issue) => issue.path?.join('/') === path.join('/'))
      if (!isKnown) context.addIssue({ code: 'custom', path, message: detail })
    }
  }

const name = z.string().trim().min(1).max(200)
const slug = z.string().min(1).max(100).superRefine(means('slug')).openapi({ description: 'Name in URLs and recipes.' })
const description = z.string().max(4000).nullish()
const systemPrompt = z
  .string()
  .max(100_000)
  .nullish()
  .openapi({ description: 'Who the agent is and how it works. Default: the system prompt agent-default.' })
const tools = z
  .array(z.string().min(1).max(100))
  .max(100)
  .superRefine(means('tools'))
  .openapi({ description: 'Names of the tools it may call. Default: none.' })

export const NewAgent = z
  .strictObject({
    name,
    slug: slug.optional().openapi({ description: 'Default: made from the name.' }),
    description,
    system_prompt: systemPrompt,
    model: ModelChoice.superRefine(means('model')).nullish(),
    tools: tools.optional(),
    limits: Limits.superRefine(means('limits')).optional(),
  })
  .openapi('NewAgent')

export const AgentChanges = z
  .strictObject({
    name: name.optional(),
    slug: slug.optional(),
    description,
    system_prompt: systemPrompt,
    model: ModelChoice.superRefine(means('model')).nullish(),
    tools: tools.optional(),
    limits: LimitChanges.superRefine(means('limits'))
      .optional()
      .openapi({ description: 'Merged; null removes a limit.' }),
  })
  .openapi('AgentChanges')

export const Agent = z
  .object({
    id: z.uuid(),
    slug: z.string(),
    name: z.string(),
    description: z.string().nullable(),
    version: z.int().openapi({ description: 'Grows with every change.' }),
    system_prompt: z.string().nullable(),
    model: ModelChoice.nullable(),
    tools: z.array(z.string()),
    limits: Limits,
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('Agent')

export const ExecuteAgent = z
  .strictObject({
    prompt: keptAsJson(
      z.string().min(1).max(1_000_000).optional().openapi({ description: 'What the agent is asked.' }),
    ),
    input: keptAsJson(
      z.string().min(1).max(1_000_000).optional().openapi({ description: 'Another name for `prompt`.' }),
    ),
    context: z
      .json()
      .optional()
      .openapi({
        description: 'Data beside the prompt.',
        type: ['object', 'array', 'string', 'number', 'boolean', 'null'],
      }),
    attachments: z
      .array(z.looseObject({ $file: z.string().max(100) }))
      .max(20)
      .optional()
      .openapi({ description: 'Files of the workspace for the model, by their handles; 10 MB in all.' }),
    model: ModelChoice.optional(),
  })
  .refine(({ prompt, input }) => (prompt === undefined) !== (input === undefined), {
    path: ['prompt'],
    message: 'exactly one of prompt and input must be given',
  })
  .openapi('ExecuteAgent')

export const StartedAgentRun = z
  .object({
    id: z.uuid(),
    execution_id: z.uuid().openapi({ description: 'The same as `id`.' }),
    agent_id: z.uuid(),
    status: z.string(),
  })
  .openapi('StartedAgentRun')

const measured = z.number().nullable()
export const AgentStats = z
  .object({
    agent_id: z.uuid(),
    days: z.int(),
    runs: z.int().openapi({ description: 'Agent steps that asked a model.' }),
    succeeded: z.int(),
    failed: z.int(),
    success_rate: measured.openapi({ description: 'Between 0 and 1; null where nothing has ended.' }),
    latency_ms: z.object({ p50: measured, p95: measured }),
    model_calls: z.int(),
    failed_model_calls: z.int(),
    tokens: z.object({ input: measured, cached_input: measured, output: measured, reasoning: measured }),
    cost_usd: z.string().nullable().openapi({ description: 'Null where the cost of any answer is not known.' }),
  })
  .openapi('AgentStats')

export const CloneAgent = z.strictObject({ name: name.optional(), slug: slug.optional() }).openapi('CloneAgent')

export const agentExample = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
  slug: 'researcher',
  name: 'Researcher',
  description: 'Finds and sums up what is known.',
  version: 1,
  system_prompt: 'You find facts and name where they come from.',
  model: { provider: 'openai', model: 'gpt-6.1-terra' },
  tools: ['http_request', 'now'],
  limits: { max_rounds: 6 },
  created_at: '2026-11-22T08:00:00.000Z',
  updated_at: '2026-11-22T08:00:00.000Z',
}
