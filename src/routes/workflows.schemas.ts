import { z } from '@hono/zod-openapi'
import { pageOf } from '../lib/pagination.ts'
import { modelChoiceSchema } from '../services/recipes/definition.ts'

const time = z.iso.datetime()
const anyJson = (description: string) =>
  z.json().openapi({ description, type: ['object', 'array', 'string', 'number', 'boolean', 'null'] })
const looseError = z
  .looseObject({ kind: z.string(), detail: z.string() })
  .nullable()
  .openapi({ description: 'Why it failed or ended: a kind for programs, a sentence for people.' })
const cost = (description: string) => z.string().nullable().openapi({ description, example: '0.0021' })

export const workflowStatus = z
  .enum(['planning', 'awaiting_approval', 'running', 'succeeded', 'failed', 'canceled'])
  .openapi('WorkflowStatus')
const approval = z.enum(['auto', 'required']).openapi({
  description:
    '`required`: every plan waits for somebody. `auto`: plans run at once, but for those that reach hosts which the goal does not name, leave addresses to an agent, or send stored credentials.',
})

const plainText = (max: number) =>
  z
    .string()
    .max(max)
    .regex(/^[^\0]*$/, 'must not hold NUL characters')
const name = plainText(200).trim().min(1).openapi({ description: 'For people. Default: the beginning of the goal.' })
/** Dollars as a number, or as decimal text where every digit counts. Kept as text. */
const budget = z
  .union([
    z.number().positive().max(1_000_000).transform(String),
    z.string().regex(/^(?=.*[1-9])\d{1,6}(\.\d{1,9})?$/, 'must be an amount above 0 such as 0.50'),
  ])
  .transform((value) => (/e/i.test(value) ? Number(value).toFixed(9) : value))
  .openapi({
    type: ['number', 'string'],
    description: 'What planning and running may cost in all, in US dollars. Default: no bound.',
    example: '0.50',
  })
const model = modelChoiceSchema
  .clone()
  .openapi('PlannerModel', { description: 'Which model plans. Default: that of the workspace.' })

export const NewWorkflow = z
  .strictObject({
    goal: plainText(8000).trim().min(1).openapi({ description: 'What is to be reached, in plain words.' }),
    name: name.optional(),
    context: z
      .json()
      .optional()
      .openapi({
        description: 'Data for the planner and the steps, 64 KB at most. It is never taken for instructions.',
        type: ['object', 'array', 'string', 'number', 'boolean', 'null'],
      }),
    agents: z
      .array(z.string().min(1).max(100))
      .max(50)
      .optional()
      .openapi({ description: 'Ids or slugs of the agents that may be assigned. Default: any of the workspace.' }),
    tools: z
      .array(z.string().min(1).max(100))
      .max(100)
      .optional()
      .openapi({ description: 'Tools that may be used; agents that hold others are not assigned. Default: any.' }),
    model: model.optional(),
    approval: approval.optional().openapi({ default: 'required' }),
    budget_usd: budget.optional(),
  })
  .openapi('NewWorkflow')

export const WorkflowChange = z
  .strictObject({ name: name.optional(), approval: approval.optional(), budget_usd: budget.nullable().optional() })
  .openapi('WorkflowChange')

const Progress = z
  .object({
    execution_id: z.uuid(),
    purpose: z.enum(['plan', 'run']),
    status: z.string(),
    steps_finished: z.int(),
    steps_known: z
      .int()
      .openapi({ description: 'Of the list that the plan is; steps inside of others count with them.' }),
    current: z.array(z.string()).openapi({ description: 'Paths of the steps that are under way.' }),
    started_at: time.nullable(),
  })
  .openapi('WorkflowProgress')

export const Workflow = z
  .object({
    id: z.uuid(),
    name: z.string(),
    goal: z.string(),
    context: anyJson('As it was given.'),
    agents: z.array(z.uuid()).nullable(),
    tools: z.array(z.string()).nullable(),
    model: z.looseObject({ provider: z.string(), model: z.string() }).nullable(),
    approval,
    budget_usd: cost('Null: no bound.'),
    status: workflowStatus,
    error: looseError,
    recipe_id: z.uuid().nullable().openapi({ description: 'The recipe whose versions the plans are.' }),
    plan: z.int().nullable().openapi({ description: 'Number of the latest plan.' }),
    replans: z.int().openapi({ description: 'Plans that were made because a step had failed; two at most.' }),
    attention: z.array(z.string()).openapi({ description: 'Why the plan waits although plans approve themselves.' }),
    planning_execution_id: z
      .uuid()
      .nullable()
      .openapi({ description: 'The execution of the planner; its events tell how it goes.' }),
    execution_id: z
      .uuid()
      .nullable()
      .openapi({ description: 'The execution of the latest plan; its events tell how it goes.' }),
    cost_usd: cost(
      'Exact, of executions that have ended, planning included; null when the cost of any call is unknown.',
    ),
    progress: Progress.nullable().openapi({
      description: 'Read from the execution that is awaited; null while none is.',
    }),
    created_by: z.string(),
    approved_by: z.string().nullable(),
    created_at: time,
    updated_at: time,
    planned_at: time.nullable(),
    approved_at: time.nullable(),
    finished_at: time.nullable(),
    version: z.int(),
  })
  .openapi('Workflow')
export const WorkflowList = pageOf(Workflow).openapi('WorkflowList')

const Pause = z
  .object({ reason: z.string().nullable(), paused_by: z.string(), paused_at: time })
  .openapi('WorkspacePause')
export const PauseState = z
  .object({ paused: Pause.nullable().openapi({ description: 'Null while the workspace works.' }) })
  .openapi('WorkspacePauseState')
export const PauseBody = z.strictObject({ reason: plainText(500).trim().min(1).optional() }).openapi('PauseWorkspace')
export const ActiveWorkflows = WorkflowList.extend({ paused: Pause.nullable() }).openapi('ActiveWorkflows')

const Assignment = z
  .object({
    step_id: z.string(),
    agent_id: z.uuid().nullable(),
    agent_slug: z.string().nullable(),
    chosen_by: z.enum(['named', 'similarity', 'load', 'none']).openapi({
      description:
        '`named`: the plan says so. `similarity`: its description fits the step best. `load`: of those that fit about as well, the least busy. `none`: no agent fits, so the step asks a model.',
    }),
    considered: z.array(
      z.object({
        agent_slug: z.string(),
        similarity: z.number(),
        load: z.int().openapi({ description: 'Model calls of the last 15 minutes and steps of this plan.' }),
      }),
    ),
  })
  .openapi('WorkflowAssignment')

export const Plan = z
  .object({
    workflow_id: z.uuid(),
    number: z.int(),
    source: z.enum(['planner', 'edit', 'replan', 'copy']),
    definition: z
      .looseObject({ name: z.string(), steps: z.array(z.looseObject({ id: z.string(), kind: z.string() })) })
      .openapi({ description: 'A recipe: `/schemas/recipe.json`.' }),
    assignments: z.array(Assignment),
    attention: z.array(z.string()),
    failed: z
      .looseObject({ plan: z.int() })
      .nullable()
      .openapi({ description: 'Of a plan for the rest: which plan failed, at which step, and how.' }),
    recipe_id: z.uuid(),
    recipe_version: z.int(),
    planning_execution_id: z.uuid().nullable(),
    execution_id: z.uuid().nullable(),
    created_by: z.string(),
    created_at: time,
  })
  .openapi('WorkflowPlan')
export const PlanList = pageOf(Plan).openapi('WorkflowPlanList')

// What a plan must be is the service's to say, with every fault at once: here it is described, not checked.
const members = {
  name: z.unknown().optional().openapi({ type: 'string', description: 'For people.' }),
  description: z
    .unknown()
    .optional()
    .openapi({ type: ['string', 'null'], description: 'For people.' }),
  steps: z
    .unknown()
    .optional()
    .openapi({
      type: 'array',
      items: { type: 'object' },
      description: 'At most 20, those inside of others counted. `"agent": "auto"` picks an agent.',
    }),
  output: z.unknown().optional().openapi({ description: 'The result of the whole.' }),
}
export const PlanInput = z.looseObject(members).openapi('WorkflowPlanInput', { required: ['steps'] })
export const PlanPatch = z.looseObject(members).openapi('WorkflowPlanPatch', { required: [] })

export const Result = z
  .object({
    workflow_id: z.uuid(),
    status: workflowStatus,
    output: anyJson('Null until the workflow has succeeded.'),
    output_execution_id: z
      .uuid()
      .nullable()
      .openapi({ description: 'Where `/api/executions/{execution}/output` gives the whole of a large output.' }),
    steps: z.array(
      z
        .object({
          plan: z.int(),
          execution_id: z.uuid(),
          path: z.string(),
          step_id: z.string(),
          kind: z.string(),
          status: z.enum(['pending', 'running', 'waiting', 'succeeded', 'failed', 'skipped', 'canceled']),
          attempts: z.int(),
          agent: z.object({ id: z.uuid(), slug: z.string(), version: z.int() }).nullable(),
          assignment: Assignment.nullable(),
          models: z.array(
            z.object({ provider: z.string(), model: z.string(), calls: z.int(), simulated: z.boolean() }),
          ),
          cost_usd: cost('Exact; null when the cost of any call is unknown.'),
          error: looseError,
          started_at: time.nullable(),
          finished_at: time.nullable(),
        })
        .openapi('WorkflowStep'),
    ),
  })
  .openapi('WorkflowResult')

const Spread = z.object({ p50: z.int().nullable(), p95: z.int().nullable() }).openapi('WorkflowSpread')
const counts = { created: z.int(), succeeded: z.int(), failed: z.int(), canceled: z.int() }
export const Stats = z
  .object({
    days: z.int(),
    paused: Pause.nullable(),
    total: z.int(),
    by_status: z.object({
      planning: z.int(),
      awaiting_approval: z.int(),
      running: z.int(),
      succeeded: z.int(),
      failed: z.int(),
      canceled: z.int(),
    }),
    success_rate: z.number().nullable().openapi({ description: 'Of those that succeeded or failed.' }),
    planning_ms: Spread.openapi({ description: 'From the goal to the first plan.' }),
    duration_ms: Spread.openapi({ description: 'From the goal to the end, of those that succeeded.' }),
    replans: z.int(),
    edited_plans: z.int(),
    mean_steps: z.number().nullable(),
    cost_usd: cost('Null also when the cost of any call is unknown.'),
    today: z.object(counts),
    trend: z
      .array(z.object({ day: z.iso.date(), ...counts }))
      .openapi({ description: 'Days, in UTC, on which anything happened.' }),
  })
  .openapi('WorkflowStats')
