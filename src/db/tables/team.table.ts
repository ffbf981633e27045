import type { ColumnType, Generated } from 'kysely'
import type { DefaultedJsonColumn, JsonColumn } from '../json.ts'

type Created = ColumnType<Date, Date | undefined, never>

/** How much a workspace may have of a thing; null or absent = as much as it likes. */
export type Limits = Partial<Record<string, number | null>>

export interface PlansTable {
  slug: string
  name: string
  limits: DefaultedJsonColumn<Limits>
  created_at: Created
  updated_at: Generated<Date>
}

/** A role of a workspace's own. */
export interface RolesTable {
  id: string
  workspace_id: string
  slug: string
  name: string
  description: string | null
  permissions: JsonColumn<string[]>
  created_at: Created
  updated_at: Generated<Date>
}

export interface InvitationsTable {
  id: string
  workspace_id: string
  /** In lower case. */
  email: string
  role: string
  /** SHA-256, hex. */
  token_hash: string
  invited_by: string
  expires_at: Date
  accepted_at: Date | null
  accepted_by: string | null
  revoked_at: Date | null
  created_at: Created
}
