import type { Selectable } from 'kysely'
import type { WorkspacesTable } from '../../db/tables/identity.table.ts'
import { entityTag } from '../../lib/etag.ts'
import type { JsonObject } from '../../lib/json.ts'

export interface Workspace {
  id: string
  slug: string
  name: string
  plan: string
  settings: JsonObject
  /** Since when it is to go, and from when on it cannot be restored. */
  deleted_at: string | null
  purge_after: string | null
  created_at: string
  updated_at: string
}

/** Whole, because there is little of it: two changes within a millisecond differ in what they changed. */
export const workspaceTag = (workspace: Workspace): string => entityTag(workspace)

export const toWorkspace = (row: Selectable<WorkspacesTable>): Workspace => ({
  id: row.id,
  slug: row.slug,
  name: row.name,
  plan: row.plan,
  settings: row.settings,
  deleted_at: row.deleted_at?.toISOString() ?? null,
  purge_after: row.purge_after?.toISOString() ?? null,
  created_at: row.created_at.toISOString(),
  updated_at: row.updated_at.toISOString(),
})
