import type { ColumnType, Generated } from 'kysely'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { JsonColumn, NullableJsonColumn } from '../json.ts'

export type WorkflowState = 'planning' | 'awaiting_approval' | 'running' | 'succeeded' | 'failed' | 'canceled'
export type PlanSource = 'planner' | 'edit' | 'replan' | 'copy'

type Created = ColumnType<Date, Date | undefined, never>
/** Read as exact decimal text. */
type Decimal = ColumnType<string, string | undefined, string>

export interface WorkflowsTable {
  id: string
  workspace_id: string
  name: string
  goal: string
  context: NullableJsonColumn<Json>
  /** Ids of the agents that may be assigned; null = any of the workspace. */
  agents: NullableJsonColumn<string[]>
  /** Names of the tools that may be used; null = any. */
  tools: NullableJsonColumn<string[]>
  /** Which model plans; null = the default of the workspace. */
  model: NullableJsonColumn<JsonObject>
  approval: 'auto' | 'required'
  budget_usd: ColumnType<string | null, string | null | undefined, string | null>
  state: WorkflowState
  error: NullableJsonColumn<JsonObject>
  recipe_id: string | null
  /** Number of the latest plan; 0 before there is one. */
  plan: Generated<number>
  /** Plans that were made because a step had failed. */
  replans: Generated<number>
  /** Times that the planner was asked for the plan under way. */
  planning_attempts: Generated<number>
  /** The run that is awaited: of the planner, or of the plan; the last one once the workflow has ended. */
  run_id: string | null
  /** Why the run that is awaited was told to end. */
  stopping: NullableJsonColumn<JsonObject>
  /** Of the runs that have ended, as far as their costs are known. */
  cost_usd: Decimal
  cost_unknown: Generated<boolean>
  /** Moves with every change; the entity tag is made of it. */
  version: Generated<number>
  look_failures: Generated<number>
  look_after: Date | null
  created_by: string
  approved_by: string | null
  created_at: Created
  updated_at: Generated<Date>
  planned_at: Date | null
  approved_at: Date | null
  finished_at: Date | null
}

export interface WorkflowPlansTable {
  workflow_id: string
  number: number
  workspace_id: string
  source: PlanSource
  recipe_id: string
  recipe_version: number
  assignments: JsonColumn<JsonObject[]>
  /** Why the plan waits for approval although the workflow approves by itself. */
  attention: JsonColumn<string[]>
  /** Of a replan: the step that failed, and how. */
  failed: NullableJsonColumn<JsonObject>
  /** Of a replan: what the steps before it gave, by step id; the run reads it as `input.results`. */
  results: NullableJsonColumn<JsonObject>
  planning_run_id: string | null
  run_id: string | null
  created_by: string
  created_at: Created
}

/** A workspace whose runs are not to be claimed. */
export interface WorkspacePausesTable {
  workspace_id: string
  reason: string | null
  paused_by: string
  paused_at: Generated<Date>
}

/** The runs of a workflow, of its planner and of its plans, in the order in which they were started. */
export interface WorkflowRunsTable {
  workflow_id: string
  number: number
  run_id: string
}
