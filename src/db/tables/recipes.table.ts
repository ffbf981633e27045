import type { ColumnType, Generated } from 'kysely'
import type { JsonObject } from '../../lib/json.ts'
import type { JsonColumn } from '../json.ts'

export interface WorkflowRecipesTable {
  id: string
  workspace_id: string
  slug: string
  name: string
  description: string | null
  /** The latest version. */
  version: number
  created_at: ColumnType<Date, Date | undefined, never>
  updated_at: Generated<Date>
  deleted_at: Date | null
}

/** Immutable: a row is never updated. */
export interface RecipeVersionsTable {
  recipe_id: string
  version: number
  workspace_id: string
  definition: JsonColumn<JsonObject>
  /** SHA-256 of the canonical JSON of the definition. */
  hash: string
  created_by: string | null
  created_at: ColumnType<Date, Date | undefined, never>
}
