import type { ColumnType, Generated } from 'kysely'
import type { JsonObject } from '../../lib/json.ts'
import type { JsonColumn, NullableJsonColumn } from '../json.ts'

type Created = ColumnType<Date, Date | undefined, never>

/** What the last test came to; `ok` is null where there was nothing to test. A type, not an interface, so that it is JSON. */
export type StoredTest = { ok: boolean | null; detail: string; tested_at: string; latency_ms: number | null }

export interface CredentialsTable {
  id: string
  workspace_id: string
  slug: string
  name: string
  /** A type of services/credentials/types.data.ts. */
  kind: string
  /** Hosts the secret may be sent to. */
  hosts: JsonColumn<string[]>
  /** The fields that are secret, sealed as one JSON text; all of them where `fields` is null. */
  sealed: string
  /** The fields that may be read. */
  fields: NullableJsonColumn<JsonObject>
  /** Of kind `custom`: what its fields are. */
  field_schema: NullableJsonColumn<JsonObject>
  test_url: string | null
  version: Generated<number>
  updated_at: Generated<Date>
  last_test: NullableJsonColumn<StoredTest>
  /** What an authorization server has given, sealed as one JSON text, so that a refresh replaces all of it or nothing. */
  sealed_tokens: string | null
  /** Of kind `oauth2_authorization_code`: whether somebody has consented. */
  connection: 'pending' | 'connected' | 'reauthorize' | null
  token_expires_at: Date | null
  token_lease: string | null
  token_lease_until: Date | null
  last_used_at: Date | null
  created_at: Created
}

/** Uses of a credential that were alike and fell into one batch of writing. */
export interface CredentialUsesTable {
  id: string
  workspace_id: string
  credential_id: string
  host: string
  /** `sent`, or the kind of the failure. */
  outcome: string
  /** What the host answered. */
  status: number | null
  run_id: string | null
  step: string | null
  agent_id: string | null
  tool: string | null
  count: Generated<number>
  created_at: Created
}

/** A provider's key that a workspace has brought along. */
export interface UserApiKeysTable {
  id: string
  workspace_id: string
  provider: string
  name: string
  base_url: string | null
  sealed: string
  /** The end of the key, to recognise it by. */
  hint: string
  version: Generated<number>
  last_test: NullableJsonColumn<StoredTest>
  last_used_at: Date | null
  created_at: Created
  updated_at: Generated<Date>
}

export interface EgressRulesTable {
  id: string
  workspace_id: string
  action: 'allow' | 'deny'
  /** A host, `host:port`, `*.suffix`, an address or a CIDR range. */
  pattern: string
  note: string | null
  created_at: Created
}
