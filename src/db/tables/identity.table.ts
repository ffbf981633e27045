import type { ColumnType, Generated } from 'kysely'
import type { JsonObject } from '../../lib/json.ts'
import type { Role } from '../../lib/permissions.ts'
import type { DefaultedJsonColumn, JsonColumn } from '../json.ts'

type Created = ColumnType<Date, Date | undefined, never>

export interface WorkspacesTable {
  id: string
  slug: string
  name: string
  /** `{ model?: ModelChoice, … }`: defaults of this workspace. */
  settings: DefaultedJsonColumn<JsonObject>
  created_at: Created
  updated_at: Generated<Date>
}

/** A person, as the identity provider knows them. */
export interface UsersTable {
  id: string
  /** Issuer and subject together are who it is; e-mail and name are only what a token said last. */
  issuer: string
  subject: string
  email: string | null
  name: string | null
  /** When the token was issued that said so: an older one changes nothing. */
  claims_issued_at: Date
  /** Where a request acts that names no workspace. */
  personal_workspace_id: string | null
  /** Tokens issued before are refused. */
  tokens_valid_after: Date | null
  created_at: Created
  updated_at: Generated<Date>
}

export interface MembershipsTable {
  workspace_id: string
  user_id: string
  role: Role
  created_at: Created
}

export interface ApiKeysTable {
  id: string
  workspace_id: string
  name: string
  kind: 'server' | 'widget'
  /** `ak_srv_` or `ak_pub_` and the first characters, to recognise a key by. */
  prefix: string
  /** SHA-256 of the whole key, hex. */
  hash: string
  /** Permissions; an empty list grants nothing. */
  scopes: JsonColumn<string[]>
  /** Requests a minute; null = the default. */
  rate_limit: number | null
  allowed_ips: DefaultedJsonColumn<string[]>
  allowed_domains: DefaultedJsonColumn<string[]>
  expires_at: Date | null
  last_used_at: Date | null
  revoked_at: Date | null
  created_by: string | null
  created_at: Created
}

export interface CredentialsTable {
  id: string
  workspace_id: string
  slug: string
  name: string
  kind: 'bearer' | 'basic' | 'header' | 'query'
  /** Hosts the secret may be sent to. */
  hosts: JsonColumn<string[]>
  /** The fields, sealed as one JSON text. */
  sealed: string
  last_used_at: Date | null
  created_at: Created
}
