import type { ColumnType, Generated } from 'kysely'
import type { DefaultedJsonColumn } from '../json.ts'

type Created = ColumnType<Date, Date | undefined, never>

/** Single-use tokens that were used, until some time after their end. */
export interface SpentTokensTable {
  id: string
  workspace_id: string
  expires_at: Date
}

/** Sessions of an identity provider whose tokens are refused. */
export interface RevokedSessionsTable {
  user_id: string
  /** The `sid` of the tokens. */
  sid: string
  revoked_at: Created
}

/** The workspace of an organization of an identity provider. */
export interface OrgWorkspacesTable {
  issuer: string
  org_id: string
  workspace_id: string
  /** Roles there to roles here, beyond what is built in. */
  role_map: DefaultedJsonColumn<Record<string, string>>
  created_at: Created
  updated_at: Generated<Date>
}

export interface OrgMembersTable {
  workspace_id: string
  user_id: string
  joined_at: Created
}
