import type { ColumnType, Generated } from 'kysely'
import type { Json } from '../../lib/json.ts'
import type { NullableJsonColumn } from '../json.ts'

type Created = ColumnType<Date, Date | undefined, never>

/** The end of a workspace's chain. Its row is the lock that puts audited acts into one order. */
export interface AuditHeadsTable {
  workspace_id: string
  seq: number | string
  prev_hash: string
  hash: string
  at: Date
  /** The newest entry that a signed checkpoint covers. */
  signed_seq: Generated<number | string>
  /** When the tick last came by: who has waited longest is next. */
  looked_at: Generated<Date | null>
}

export interface AuditLogsTable {
  workspace_id: string
  /** 1, 2, 3 … within the workspace, without gaps. */
  seq: number | string
  id: string
  actor_kind: 'key' | 'user' | 'system'
  actor_id: string
  action: string
  target_type: string
  target_id: string
  request_id: string | null
  before: NullableJsonColumn<Json>
  after: NullableJsonColumn<Json>
  client_address: string | null
  /** Null: before and after were taken away; their hash stands for them in the chain. */
  change_nonce: string | null
  change_hash: string
  /** The same of the address. */
  address_nonce: string | null
  address_hash: string
  created_at: Date
  prev_hash: string
  hash: string
}

/** What the installation's key has signed of a chain: `checkpoint` (verified so far), `anchor` (everything up to here was pruned). */
export interface AuditSealsTable {
  workspace_id: string
  kind: 'checkpoint' | 'anchor'
  seq: number | string
  hash: string
  at: Date
  signature: string
  created_at: Created
}

/** An archive of a workspace or of a user's data, from its order until it is deleted. */
export interface PrivacyExportsTable {
  id: string
  workspace_id: string
  /** Null: of the whole workspace. */
  user_id: string | null
  state: Generated<'queued' | 'running' | 'ready' | 'failed'>
  /** Whoever works on it holds it until then. */
  leased_until: Date | null
  attempts: Generated<number>
  size: number | string | null
  parts: Generated<number>
  /** Where the next part begins; null before the first. */
  progress: NullableJsonColumn<Json>
  error: string | null
  created_by: string
  created_at: Created
  finished_at: Date | null
  expires_at: Date | null
}
