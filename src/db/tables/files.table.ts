import type { ColumnType, Generated } from 'kysely'

export interface FilesTable {
  id: string
  workspace_id: string
  /** The run that made it, or that it came for: it is deleted with that. */
  run_id: string | null
  name: string
  media_type: string
  size: number
  /** Of the bytes, hex. */
  sha256: string
  source: 'upload' | 'step' | 'webhook'
  /** False until the bytes are where they belong: then it is there for callers. */
  stored: Generated<boolean>
  idempotency_key: string | null
  /** SHA-256 of the request that came with the key. */
  request_hash: string | null
  created_by: string | null
  created_at: ColumnType<Date, Date | undefined, never>
  expires_at: Date | null
}

/** Where large values of runs are kept; written before the value is. */
export interface RunBlobsTable {
  key: string
  run_id: string
  /** The run was seen. */
  settled: Generated<boolean>
  created_at: ColumnType<Date, Date | undefined, never>
}

/** Bytes whose rows are gone. */
export interface DoomedBlobsTable {
  key: string
  due_at: Generated<Date>
}
