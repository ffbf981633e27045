import { z } from 'zod'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import {
  agentPattern,
  cel,
  common,
  credential,
  duration,
  identifier,
  jsonSchema,
  liquid,
  model,
  plainText,
  retry,
  slug,
  tree,
} from './definition-fields.ts'
import { startSettings } from './start-settings.ts'

export { identifierPattern, model as modelChoiceSchema, slugPattern } from './definition-fields.ts'

/** What a definition may hold at most. */
export const definitionLimits = {
  steps: 200,
  /** Levels of step lists: the recipe's own list is the first. */
  nesting: 5,
  bytes: 256 * 1024,
  /** Outputs and tags of all templates, expressions, and each 10 characters of one: what takes time to read. */
  parts: 5_000,
  /** Levels of objects and lists in the whole document, far above what a hand-written recipe has. */
  depth: 64,
} as const

/** What an absent field means. Definitions are stored as written; whoever runs them applies these. */
export const stepDefaults = {
  retry: { backoff: '1s', max_delay: '5m' },
  on_error: 'fail',
  http: { parse: 'auto' },
  foreach: { concurrency: 4, on_item_error: 'fail_fast' },
} as const

const attachments = tree('Files for the model: a list of file values.').optional()

const agentStep = z
  .strictObject({
    kind: z.literal('agent'),
    ...common,
    agent: z.string().regex(agentPattern, 'must be the slug or the id of an agent').describe('Slug or id of an agent.'),
    prompt: liquid('What the agent is asked.'),
    context: tree('Data given to the agent beside the prompt.').optional(),
    attachments,
    model: model.optional(),
    output_schema: jsonSchema('Shape that the answer must have.').optional(),
  })
  .meta({ title: 'agent', description: 'An agent answers a prompt and may use its tools.' })

const llmStep = z
  .strictObject({
    kind: z.literal('llm'),
    ...common,
    prompt: liquid('What the model is asked.'),
    system: liquid('Instructions for the model.').optional(),
    context: tree('Data given to the model beside the prompt.').optional(),
    attachments,
    model: model.optional(),
    output_schema: jsonSchema('Shape that the answer must have.').optional(),
  })
  .meta({ title: 'llm', description: 'One question to a model, without an agent.' })

const headerName = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/, 'must be an HTTP header name')
const httpStep = z
  .strictObject({
    kind: z.literal('http'),
    ...common,
    request: z.strictObject({
      method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']),
      url: liquid('Absolute http or https URL.'),
      headers: z.record(headerName, tree('Value of the header.')).optional(),
      query: z.record(z.string().min(1), tree('Value, or a list of values.')).optional().describe('Added to the URL.'),
      body: tree('Sent as JSON unless it is a text or a file.').optional(),
    }),
    auth: credential.optional().describe('Credential to send; the step never sees it.'),
    parse: z
      .enum(['auto', 'json', 'text', 'csv', 'feed', 'html_text', 'bytes'])
      .optional()
      .describe('How the body is read. Default auto: by its media type. With bytes it becomes a file.'),
    accept: z
      .array(z.int().min(100).max(599))
      .max(100)
      .optional()
      .describe('Statuses outside 2xx that are not a failure.'),
  })
  .meta({ title: 'http', description: 'One HTTP request; its output is {status, headers, body}.' })

const transformStep = z
  .strictObject({ kind: z.literal('transform'), ...common, value: tree('The output of the step.') })
  .meta({ title: 'transform', description: 'Computes a value; has no effect.' })

const goto = z.strictObject({ goto: identifier() })
const words = (list: readonly string[]) =>
  `must be ${list.map((word) => `"${word}"`).join(', ')} or {"goto": "<step id>"}`
const ends = ['fail', 'continue'] as const
const timeoutEnds = [...ends, 'approve', 'reject'] as const

export const eventNamePattern = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}$/
export const eventNameRule = 'must start with a letter or a digit and hold only A-Z, a-z, 0-9 and . _ : / -'

const waitStep = z
  .strictObject({
    kind: z.literal('wait'),
    ...common,
    duration: z.string().min(1).optional().describe('How long: a duration, or a Liquid template that gives one.'),
    until: tree('When it ends: an ISO time.').optional(),
    event: z.string().regex(eventNamePattern, eventNameRule).optional().describe('Name of the event that ends it.'),
    match: z
      .custom<JsonObject>(isObject, 'must be an object')
      .meta({
        description:
          'Which events count: an object that the payload must contain, or {"$expr": "…"}, a CEL expression that sees the payload as `event`. A JSON value: texts are Liquid templates.',
        type: 'object',
      })
      .optional(),
    on_timeout: z
      .union([z.enum(ends), goto], { error: words(ends) })
      .optional()
      .describe('What follows when no event came within `timeout`. Default: what on_error says.'),
  })
  .meta({
    title: 'wait',
    description:
      'Parks the run; takes exactly one of duration, until and event. With event, the payload is its output.',
    oneOf: [{ required: ['duration'] }, { required: ['until'] }, { required: ['event'] }],
  })

const approvalStep = z
  .strictObject({
    kind: z.literal('approval'),
    ...common,
    message: liquid('What is to be decided, for people.'),
    payload: tree('What is decided on; whoever approves may edit it.').optional(),
    payload_schema: jsonSchema('What an edited payload must look like.').optional(),
    on_reject: z
      .union([z.enum(ends), goto], { error: words(ends) })
      .optional()
      .describe('What follows a rejection. Default: what on_error says.'),
    on_timeout: z
      .union([z.enum(timeoutEnds), goto], { error: words(timeoutEnds) })
      .optional()
      .describe('What follows when nobody has decided within `timeout`. Default: what on_error says.'),
  })
  .meta({ title: 'approval', description: 'Parks the run until a person approves or rejects.' })

const toolStep = z
  .strictObject({
    kind: z.literal('tool'),
    ...common,
    tool: z
      .string()
      .regex(/^[a-z][a-z0-9_]{0,62}$/, 'must be the name of a tool')
      .describe('Name of a tool, as agents have them.'),
    arguments: tree('What the tool is called with: an object that fits its parameters.').optional(),
  })
  .meta({ title: 'tool', description: 'Calls one tool; its output is what the tool gives.' })

const recipeStep = z
  .strictObject({
    kind: z.literal('recipe'),
    ...common,
    recipe: z
      .string()
      .regex(agentPattern, 'must be the slug or the id of a recipe')
      .describe('Slug or id of a recipe of the workspace.'),
    version: z.int().min(1).optional().describe('Which version. Default: the latest when the step starts.'),
    input: tree('The input of the run: an object that fits the `inputs` of the recipe.').optional(),
  })
  .meta({ title: 'recipe', description: 'Runs another recipe and waits for its end; its output is that of the run.' })

const plainAddress = /^[^\s@<>,;:"()[\]\\]+@[^\s@<>,;:"()[\]\\]+$/
const channels = {
  log: z.enum(['info', 'warn', 'error']).optional().describe('A line in the log of the server, of this severity.'),
  webhook: z
    .strictObject({ url: liquid('Absolute http or https URL; gets a POST.'), auth: credential.optional() })
    .optional(),
  email: z
    .strictObject({
      to: z
        .array(
          z.union([z.string().regex(plainAddress, 'must be an address'), z.string().regex(/\{\{|\{%/)], {
            error: 'must be an address such as kim@example.org, or a template that gives one',
          }),
        )
        .min(1)
        .max(50)
        .describe('Addresses.'),
      subject: liquid('One line.'),
    })
    .optional(),
}
const oneChannel = [{ required: ['log'] }, { required: ['webhook'] }, { required: ['email'] }]
const notifyStep = z
  .strictObject({
    kind: z.literal('notify'),
    ...common,
    message: liquid('What to say.'),
    data: tree('Sent along: as `data` of the log line or of the webhook.').optional(),
    ...channels,
  })
  .meta({
    title: 'notify',
    description: 'Tells people or systems; takes exactly one of log, webhook and email.',
    oneOf: oneChannel,
  })

const failStep = z
  .strictObject({
    kind: z.literal('fail'),
    ...common,
    message: liquid('Why the run fails.'),
    reason: slug().optional().describe('A word for programs.'),
  })
  .meta({ title: 'fail', description: 'Ends the run as failed.' })

const steps = z.lazy((): z.ZodType<Step[]> => z.array(stepSchema).min(1))
const branchStep = z
  .strictObject({
    kind: z.literal('branch'),
    ...common,
    cases: z
      .array(z.strictObject({ when: cel('This case runs if no earlier one did and this is true.'), steps }))
      .min(1)
      .max(50),
    default: steps.optional().describe('Runs when no case did.'),
  })
  .meta({ title: 'branch', description: 'Runs the steps of the first case whose condition holds.' })
const foreachStep = z
  .strictObject({
    kind: z.literal('foreach'),
    ...common,
    items: tree('The list, usually {"$expr": "…"}.'),
    as: identifier().describe('Name of the variable that holds the item.'),
    concurrency: z.int().min(1).max(50).optional().describe('Items in work at a time. Default 4.'),
    on_item_error: z
      .enum(['fail_fast', 'collect'])
      .optional()
      .describe('fail_fast (default) fails with the first failed item; collect goes on.'),
    steps,
  })
  .meta({ title: 'foreach', description: 'Runs its steps for each item; its output lists the last output of each.' })

export type AgentStep = z.infer<typeof agentStep>
export type LlmStep = z.infer<typeof llmStep>
export type HttpStep = z.infer<typeof httpStep>
export type TransformStep = z.infer<typeof transformStep>
export type WaitStep = z.infer<typeof waitStep>
export type ApprovalStep = z.infer<typeof approvalStep>
export type ToolStep = z.infer<typeof toolStep>
export type RecipeStep = z.infer<typeof recipeStep>
export type NotifyStep = z.infer<typeof notifyStep>
export type FailStep = z.infer<typeof failStep>
// Recursive types cannot be inferred; the schemas are checked against them where stepSchema is made.
type CommonFields = Omit<TransformStep, 'kind' | 'value'>
export interface BranchStep extends CommonFields {
  kind: 'branch'
  cases: { when: string; steps: Step[] }[]
  default?: Step[]
}
export interface ForeachStep extends CommonFields {
  kind: 'foreach'
  items: Json
  as: string
  concurrency?: number
  on_item_error?: 'fail_fast' | 'collect'
  steps: Step[]
}
export type Step =
  | AgentStep
  | LlmStep
  | ToolStep
  | HttpStep
  | TransformStep
  | BranchStep
  | ForeachStep
  | WaitStep
  | ApprovalStep
  | RecipeStep
  | NotifyStep
  | FailStep
export type StepKind = Step['kind']
export type RetryPolicy = z.infer<typeof retry>
export type OnError = NonNullable<CommonFields['on_error']>

export const stepKinds = [
  'agent',
  'llm',
  'tool',
  'http',
  'transform',
  'branch',
  'foreach',
  'wait',
  'approval',
  'recipe',
  'notify',
  'fail',
] as const satisfies StepKind[]

export const stepSchema: z.ZodType<Step> = z.discriminatedUnion(
  'kind',
  [
    agentStep,
    llmStep,
    toolStep,
    httpStep,
    transformStep,
    branchStep,
    foreachStep,
    waitStep,
    approvalStep,
    recipeStep,
    notifyStep,
    failStep,
  ],
  {
    error: ({ input }) => (isObject(input) ? `must be one of ${stepKinds.join(', ')}` : 'must be a step object'),
  },
)

const failureNotice = z
  .strictObject({
    message: liquid('What to say. Default: the name of the recipe and the error.').optional(),
    data: tree('Sent along. Default: the event and the failed run.').optional(),
    ...channels,
  })
  .meta({ oneOf: oneChannel })
export type FailureNotice = z.infer<typeof failureNotice>

const budget = z
  .string()
  .regex(/^(?=.*[1-9])\d{1,6}(\.\d{1,9})?$/, 'must be an amount above 0 as a text, such as "0.50"')

const settings = z.strictObject({
  budget_usd: budget
    .optional()
    .describe('What the model calls of a run and of those that it starts may cost in all, in US dollars.'),
  timeout: duration('Longest time for the whole run, waits included.').optional(),
  ...startSettings,
  max_parallel: z
    .int()
    .min(1)
    .max(50)
    .optional()
    .describe(
      'Steps with an effect under way at a time in the whole run, items of foreach included. Default 10, or the largest `concurrency` of a foreach where that is more.',
    ),
  on_failure: z
    .strictObject({
      log: z.boolean().optional().describe('Write an error to the log of the server.'),
      recipe: z
        .string()
        .regex(agentPattern, 'must be the slug or the id of a recipe')
        .optional()
        .describe('Slug or id of a recipe that is started with the failed run as its input.'),
      webhook: z
        .strictObject({
          url: z
            .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
            .describe('Gets a POST with the failed run.'),
          auth: credential.optional(),
        })
        .optional(),
      notify: z
        .array(failureNotice)
        .min(1)
        .max(5)
        .optional()
        .describe('Who is told, each by exactly one of log, webhook and email. Templates see `error` too.'),
    })
    .optional(),
})

export const recipeDefinitionSchema = z.strictObject({
  $schema: z.string().max(2000).optional().describe('For editors; not stored.'),
  name: plainText(200).trim().min(1).describe('For people.'),
  slug: slug().optional().describe('Name in URLs. Default: made from the name.'),
  description: plainText(4000).optional(),
  inputs: jsonSchema('What a run is given as input.').optional(),
  steps,
  output: tree('The output of the run. Default: the output of the last step.').optional(),
  settings: settings.optional(),
})
export type RecipeDefinition = z.infer<typeof recipeDefinitionSchema>
export type RecipeSettings = z.infer<typeof settings>
