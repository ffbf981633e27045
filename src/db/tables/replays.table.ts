import type { ColumnType, Generated } from 'kysely'
import type { JsonObject } from '../../lib/json.ts'
import type { NullableJsonColumn } from '../json.ts'

/** A comparison: past runs of a recipe gone through again with their recorded answers. */
export interface ReplaysTable {
  id: string
  workspace_id: string
  recipe_id: string
  /** The version that the runs are gone through with. */
  recipe_version: number
  /** In place of the model of every agent and llm step; null leaves them. */
  model: NullableJsonColumn<JsonObject>
  call_models: boolean
  state: Generated<'queued' | 'running' | 'finished' | 'canceled'>
  /** Runs to compare. */
  total: number
  idempotency_key: string | null
  request_hash: string
  created_by: string | null
  created_at: ColumnType<Date, Date | undefined, never>
  finished_at: Date | null
}

export interface ReplayRunsTable {
  replay_id: string
  run_id: string
  workspace_id: string
  ordinal: number
  state: Generated<'pending' | 'compared' | 'failed'>
  /** Grows with every claim; a result under an older number is not written. */
  attempts: Generated<number>
  lease_until: Date | null
  verdict: 'same' | 'different' | 'unknown' | null
  report: NullableJsonColumn<JsonObject>
  error: NullableJsonColumn<JsonObject>
  finished_at: Date | null
}
