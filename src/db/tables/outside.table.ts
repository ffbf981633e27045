import type { ColumnType, Generated } from 'kysely'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { JsonColumn, NullableJsonColumn } from '../json.ts'

/** An event that was sent to a workspace, or as a signal to one run; kept until the end of its life. */
export interface InboundEventsTable {
  id: string
  workspace_id: string
  /** Of a signal; null for an event of the workspace. */
  run_id: string | null
  name: string
  payload: JsonColumn<Json>
  idempotency_key: string | null
  request_hash: string
  created_by: string | null
  /** Every wait that was open when it came has been offered it. */
  matched: Generated<boolean>
  /** The wait up to which it has been offered; null where none has been looked at. */
  cursor_run_id: string | null
  cursor_path: string | null
  /** Of the payload as text. */
  bytes: ColumnType<number, never, never>
  /** A signal is taken by one wait; an event of the workspace by any number. */
  taken_at: Date | null
  created_at: ColumnType<Date, Date | undefined, never>
  expires_at: Date
}

/** One visit of a step that waits for an event, with what it was given. */
export interface EventWaitsTable {
  run_id: string
  path: string
  generation: number
  workspace_id: string
  name: string
  /** The payload must contain it. */
  match: NullableJsonColumn<JsonObject>
  /** A CEL expression over the payload, with the part of the run's scope that it reads. */
  condition: NullableJsonColumn<JsonObject>
  state: Generated<'open' | 'delivered' | 'expired'>
  event_id: string | null
  payload: NullableJsonColumn<Json>
  /** The kept event up to which it has looked back. */
  looked_to: string | null
  created_at: ColumnType<Date, Date | undefined, never>
  expires_at: Date | null
  closed_at: Date | null
}

/** How much a workspace's events take up that end within the hour before `until`. */
export interface EventBytesTable {
  workspace_id: string
  until: Date
  bytes: string
}

export interface ApprovalsTable {
  id: string
  workspace_id: string
  run_id: string
  path: string
  generation: number
  step_id: string
  /** Of the step, for people. */
  name: string | null
  message: string
  payload: NullableJsonColumn<Json>
  payload_schema: NullableJsonColumn<JsonObject>
  /** `pending` also where the run has ended without a decision: what is shown is worked out from run and step. */
  state: Generated<'pending' | 'approved' | 'rejected' | 'expired'>
  comment: string | null
  /** Null: the payload was not edited. */
  decided_payload: NullableJsonColumn<Json>
  /** `{kind: 'key'|'user'|'link', id, name?}` */
  decided_by: NullableJsonColumn<JsonObject>
  decided_at: Date | null
  created_at: ColumnType<Date, Date | undefined, never>
  expires_at: Date | null
}

/** A signed address that decides one approval without an account. */
export interface ApprovalLinksTable {
  id: string
  approval_id: string
  workspace_id: string
  /** Whom it was made for, in the maker's words. */
  issued_to: string | null
  /** `{kind: 'key'|'user', id}`: it ends with them. */
  maker: JsonColumn<JsonObject>
  created_at: ColumnType<Date, Date | undefined, never>
  expires_at: Date
}

/** Child runs that have ended and whose parents have not been told. */
export interface ChildEndsTable {
  run_id: string
  parent_run_id: string
  ended_at: ColumnType<Date, Date | undefined, never>
}

/** How many runs have been started below a run that no step has started. */
export interface RunFamiliesTable {
  root_id: string
  started: number
}
