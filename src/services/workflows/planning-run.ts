import type { Transaction } from 'kysely'
import type { Selectable } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { WorkflowsTable } from '../../db/tables/workflows.table.ts'
import type { Fault } from '../../lib/errors.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { ModelChoice } from '../models/types.ts'
import type { RecipeDefinition } from '../recipes/definition.ts'
import { insertRuns } from '../runs/create-run.ts'
import { toolNames } from '../tools/registry.ts'
import { loadCandidates } from './assign-agents.ts'
import { maxPlanSteps, nameOf } from './compile-plan.ts'
import { planSchema } from './plan-schema.ts'
import { plannerRules, replanRules } from './planner-prompt.ts'
import { noteRun } from './workflow-runs.ts'

export type WorkflowRow = Selectable<WorkflowsTable>

/** What went before, where a plan is not the first one. */
export interface Earlier {
  /** The plan that failed: its steps, the one that failed, and a look at what the others gave. */
  failed?: { steps: Json; step: string | null; error: JsonObject; results: JsonObject }
  /** The planner's own answer that could not be used, and why. */
  refused?: { plan: Json; faults: Fault[] }
}

/**
 * Asks for a plan, as a run of one step: so the question survives a crash, the answer is recorded, can be followed and
 * canceled, and its cost is counted like any other. Call `wake.runReady` after the commit.
 */
export async function insertPlanningRun(
  tx: Transaction<Database>,
  row: WorkflowRow,
  earlier: Earlier = {},
): Promise<string> {
  const id = uuidv7()
  const definition = planningRecipe(row, await plannerPrompt(tx), earlier.failed !== undefined)
  await insertRuns(tx, [
    {
      id,
      workspaceId: row.workspace_id,
      recipeId: null,
      recipeVersion: null,
      definition: definition as unknown as JsonObject,
      trigger: { kind: 'workflow', workflow_id: row.id, purpose: 'plan', plan: row.plan + 1 },
      input: { goal: row.goal, brief: await briefOf(tx, row, earlier) },
      createdBy: keyOf(row.created_by),
      timeoutMs: planningTimeoutMs,
    },
  ])
  await noteRun(tx, row.id, id)
  return id
}

const planningTimeoutMs = 15 * 60_000

/** The id of the key that a run is made for; only a key's is kept with a run. */
export const keyOf = (createdBy: string): string | null =>
  createdBy.startsWith('key:') ? createdBy.slice('key:'.length) : null

export function planningRecipe(
  row: Pick<WorkflowRow, 'goal' | 'model'>,
  persona: string | null,
  replan: boolean,
): RecipeDefinition {
  const system = [persona, plannerRules, replan ? replanRules : null].filter(Boolean).join('\n\n')
  return {
    name: nameOf(`Plan: ${row.goal}`),
    steps: [
      {
        id: 'plan',
        kind: 'llm',
        system: verbatim(system),
        prompt: 'Plan how to reach this goal:\n\n{{ input.goal }}',
        context: { $expr: 'input.brief' },
        output_schema: planSchema(),
        retry: { max_attempts: 4, backoff: '2s' },
        ...(row.model && { model: row.model as unknown as ModelChoice }),
      },
    ],
    output: { $expr: 'steps.plan.output.data' },
  }
}

/** The rules speak of templates and must not be read as one. */
const verbatim = (text: string): string => `{% raw %}${text.replaceAll(/\{%-?\s*endraw\s*-?%\}/g, '')}{% endraw %}`

/** Editable, seeded as `planner`. */
async function plannerPrompt(tx: Transaction<Database>): Promise<string | null> {
  const row = await tx.selectFrom('system_prompts').select('content').where('slug', '=', 'planner').executeTakeFirst()
  return row?.content ?? null
}

async function briefOf(tx: Transaction<Database>, row: WorkflowRow, { failed, refused }: Earlier): Promise<JsonObject> {
  const candidates = await loadCandidates(tx, row.workspace_id, row)
  return {
    goal: row.goal,
    context: row.context,
    agents: candidates.slice(0, 50).map(({ slug, name, description, tools }) => ({ slug, name, description, tools })),
    tools: row.tools ?? [...toolNames],
    max_steps: maxPlanSteps,
    ...(failed && { failed }),
    ...(refused && {
      refused: { plan: refused.plan, faults: refused.faults.slice(0, 20).map((fault) => ({ ...fault })) },
    }),
  }
}
