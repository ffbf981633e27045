import type { ColumnType, Generated } from 'kysely'
import type { JsonObject } from '../../lib/json.ts'
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
