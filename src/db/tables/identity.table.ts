import type { ColumnType, Generated } from 'kysely'
import type { JsonObject } from '../../lib/json.ts'
import type { DefaultedJsonColumn, JsonColumn } from '../json.ts'
import type { Limits } from './team.table.ts'

type Created = ColumnType<Date, Date | undefined, never>

export interface WorkspacesTable {
  id: string
  slug: string
  name: string
  /** `{ model?: ModelChoice, … }`: defaults of this workspace. */
  settings: DefaultedJsonColumn<JsonObject>
  /** The operator's own: the first one. */
  is_operator: Generated<boolean>
  plan: Generated<string>
  /** The operator's for this workspace; they come before those of the plan. */
  limits: DefaultedJsonColumn<Limits>
  /** Since when it is to go, and from when on it goes. */
  deleted_at: Date | null
  purge_after: Date | null
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
  /** The one that the first contact made. */
  personal_workspace_id: string | null
  /** Where a request acts that names no workspace; null = in the personal one. */
  default_workspace_id: string | null
  /** Tokens issued before are refused. */
  tokens_valid_after: Date | null
  created_at: Created
  updated_at: Generated<Date>
}

export interface MembershipsTable {
  workspace_id: string
  user_id: string
  /** Built in, or one of the workspace's. */
  role: string
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
  /** Of the key before the last rotation, which is good until then. */
  previous_hash: string | null
  previous_valid_until: Date | null
  rotated_at: Date | null
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
  /** The person whose key it is: it acts as that user and holds what the user's role gives. */
  user_id: string | null
  created_at: Created
}
