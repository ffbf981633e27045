import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import { toJsonText } from '../../db/json.ts'
import type { LedgerEntry } from './decide.ts'

export interface NewLedgerRow extends LedgerEntry {
  scheduleId: string
  workspaceId: string
  runId: string | null
}

/**
 * Writes ledger rows in one statement. A slot that is in the ledger already stays as it is and is not answered, so the
 * caller starts no second run for it. Answers the ids of the runs whose slots are new.
 */
export async function insertLedgerRows(db: Kysely<Database>, rows: NewLedgerRow[]): Promise<Set<string>> {
  if (rows.length === 0) return new Set()
  const text = toJsonText(
    rows.map((row) => ({
      schedule_id: row.scheduleId,
      workspace_id: row.workspaceId,
      slot_at: row.slotAt,
      status: row.status,
      reason: row.reason,
      late: row.late,
      slot_to: row.slotTo,
      count: row.count,
      run_id: row.runId,
    })),
  )
  const inserted = await sql<{ run_id: string | null }>`
    insert into schedule_slots
      (schedule_id, workspace_id, slot_at, status, reason, late, slot_to, count, run_id, fired_at)
    select schedule_id, workspace_id, slot_at, status, reason, late, slot_to, count, run_id,
      case when status = 'fired' then app_now() end
    from jsonb_to_recordset(${text}::text::jsonb) as r(
      schedule_id uuid, workspace_id uuid, slot_at timestamptz, status text, reason text, late boolean,
      slot_to timestamptz, count integer, run_id uuid)
    on conflict (schedule_id, slot_at) do nothing
    returning run_id`.execute(db)
  return new Set(inserted.rows.flatMap((row) => (row.run_id === null ? [] : [row.run_id])))
}

/** Slots whose run was skipped, as the limits of its recipe say. The run stays with its slot: it has the reason. */
export async function skipSlots(db: Kysely<Database>, runIds: ReadonlySet<string>): Promise<void> {
  if (runIds.size === 0) return
  await db
    .updateTable('schedule_slots')
    .set({ status: 'skipped', reason: 'concurrency' })
    .where('run_id', 'in', [...runIds])
    .execute()
}

export interface ReleasedSlot {
  scheduleId: string
  slotAt: Date
  runId: string
  late: boolean
}

/** Turns slots that were held back into fired ones. Answers the ids of the runs to start. */
export async function firePendingSlots(db: Kysely<Database>, slots: ReleasedSlot[]): Promise<Set<string>> {
  if (slots.length === 0) return new Set()
  const text = toJsonText(
    slots.map((slot) => ({
      schedule_id: slot.scheduleId,
      slot_at: slot.slotAt,
      run_id: slot.runId,
      late: slot.late,
    })),
  )
  const fired = await sql<{ run_id: string }>`
    update schedule_slots s set status = 'fired', run_id = r.run_id, late = r.late, fired_at = app_now()
    from jsonb_to_recordset(${text}::text::jsonb) as r(
      schedule_id uuid, slot_at timestamptz, run_id uuid, late boolean)
    where s.schedule_id = r.schedule_id and s.slot_at = r.slot_at and s.status = 'pending'
    returning s.run_id`.execute(db)
  return new Set(fired.rows.map((row) => row.run_id))
}

/** Gives up the slots that are held back for these schedules. */
export async function dropPendingSlots(
  db: Kysely<Database>,
  scheduleIds: string[],
  verdict: Pick<LedgerEntry, 'status' | 'reason'>,
): Promise<void> {
  if (scheduleIds.length === 0) return
  await db
    .updateTable('schedule_slots')
    .set(verdict)
    .where('schedule_id', 'in', scheduleIds)
    .where('status', '=', 'pending')
    .execute()
}
