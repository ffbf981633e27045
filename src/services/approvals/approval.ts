import { sql, type RawBuilder } from 'kysely'
import type { Json, JsonObject } from '../../lib/json.ts'

/** `canceled`: the run, or the step, ended without a decision. */
export const approvalStates = ['pending', 'approved', 'rejected', 'expired', 'canceled'] as const
export type ApprovalState = (typeof approvalStates)[number]

export interface Approval {
  id: string
  status: ApprovalState
  execution_id: string
  recipe_id: string | null
  recipe_name: string | null
  step_id: string
  step_path: string
  name: string | null
  message: string
  /** What is decided on. */
  payload: Json
  payload_schema: JsonObject | null
  comment: string | null
  /** As the one who approved it left it; null where it was not edited. */
  decided_payload: Json
  decided_by: JsonObject | null
  decided_at: string | null
  created_at: string
  expires_at: string | null
}

export interface ApprovalRow {
  id: string
  shown_state: ApprovalState
  run_id: string
  recipe_id: string | null
  recipe_name: string | null
  step_id: string
  path: string
  name: string | null
  message: string
  payload: Json
  payload_schema: JsonObject | null
  comment: string | null
  decided_payload: Json
  decided_by: JsonObject | null
  decided_at: Date | null
  created_at: Date
  expires_at: Date | null
}

/**
 * Approvals `a` with their runs, as they stand now. What ends a run or gives a step up writes nothing here: that nobody
 * can decide any more is read from their rows.
 */
export const shownApprovals = (where: RawBuilder<unknown>): RawBuilder<ApprovalRow> => sql`
  select a.id, s.shown_state, a.run_id, r.recipe_id, w.name as recipe_name, a.step_id, a.path, a.name, a.message,
    a.payload, a.payload_schema, a.comment, a.decided_payload, a.decided_by, a.decided_at, a.created_at, a.expires_at
  from approvals a
  join runs r on r.id = a.run_id
  left join workflow_recipes w on w.id = r.recipe_id
  left join run_steps t on t.run_id = a.run_id and t.path = a.path
  cross join lateral (select ${shownState} as shown_state) s
  where ${where}`

/** Of an approval `a` with its run `r` and its step `t`, which may have no row yet. */
export const shownState = sql`case
  when a.state <> 'pending' then a.state
  when r.state in ('succeeded', 'failed', 'canceled', 'timed_out') or r.generation <> a.generation
    or t.status in ('succeeded', 'failed', 'skipped', 'canceled') then 'canceled'
  when a.expires_at <= app_now() then 'expired'
  else 'pending' end`

export const toApproval = (row: ApprovalRow): Approval => ({
  id: row.id,
  status: row.shown_state,
  execution_id: row.run_id,
  recipe_id: row.recipe_id,
  recipe_name: row.recipe_name,
  step_id: row.step_id,
  step_path: row.path,
  name: row.name,
  message: row.message,
  payload: row.payload,
  payload_schema: row.payload_schema,
  comment: row.comment,
  decided_payload: row.decided_payload,
  decided_by: row.decided_by,
  decided_at: row.decided_at?.toISOString() ?? null,
  created_at: row.created_at.toISOString(),
  expires_at: row.expires_at?.toISOString() ?? null,
})
