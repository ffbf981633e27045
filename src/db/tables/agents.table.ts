import type { ColumnType, Generated } from 'kysely'
import type { JsonObject } from '../../lib/json.ts'
import type { JsonColumn, NullableJsonColumn } from '../json.ts'

export interface AgentsTable {
  id: string
  workspace_id: string
  slug: string
  name: string
  description: string | null
  /** Grows with every change; a run records the version it used. */
  version: Generated<number>
  system_prompt: string | null
  /** ModelChoice, or null for the default of workspace, system and environment. */
  model: NullableJsonColumn<JsonObject>
  /** Tool names the agent may call. */
  tools: JsonColumn<string[]>
  /** `{ max_rounds?, max_output_tokens?, timeout? }` */
  limits: JsonColumn<JsonObject>
  created_at: ColumnType<Date, Date | undefined, never>
  updated_at: Generated<Date>
  deleted_at: Date | null
}
