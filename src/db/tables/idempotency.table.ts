import type { ColumnType } from 'kysely'

/** Keys of requests that create something, with the answer that the first one got. */
export interface IdempotencyKeysTable {
  workspace_id: string
  operation: string
  key: string
  /** What the key was used for: SHA-256 of the request, or a signature of it where the request holds secrets. */
  fingerprint: string
  /** The request that works on it. */
  owner: string
  /** Until then nobody else takes it up. */
  lease_until: ColumnType<Date, Date, Date>
  /** Null while the first request is in progress. JSON, sealed where it holds secrets. */
  answer: string | null
  created_at: ColumnType<Date, Date | undefined, Date>
}
