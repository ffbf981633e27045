import type { Kysely, Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import type { ScheduleRow } from '../../db/tables/schedules.table.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import { stretchOf } from '../../lib/slots/stretch.ts'
import { dropPendingSlots, insertLedgerRows } from './ledger.ts'
import { pausePings } from './pings.ts'
import { hasOtherSlots, type SettingColumns } from './settings.ts'
import { placement, specOf } from './timing.ts'

type Tenant = Pick<ServiceContext, 'actor'>

const notFound = (id: string) => new AppError('not-found', `Schedule ${id} does not exist.`)

const select = (db: Kysely<Database>, { actor }: Tenant, id: string) =>
  db.selectFrom('schedules').selectAll().where('workspace_id', '=', actor.workspaceId).where('id', '=', id)

export async function findSchedule(db: Kysely<Database>, tenant: Tenant, id: string): Promise<ScheduleRow> {
  const row = isUuid(id) ? await select(db, tenant, id).executeTakeFirst() : undefined
  if (!row) throw notFound(id)
  return row
}

/** Locks the row first: whatever is computed from it afterwards is computed from its last state. */
export async function lockSchedule(tx: Transaction<Database>, tenant: Tenant, id: string): Promise<ScheduleRow> {
  const row = isUuid(id) ? await select(tx, tenant, id).forUpdate().executeTakeFirst() : undefined
  if (!row) throw notFound(id)
  return row
}

const jsonColumns = ({ misfire, dst, input, alerts }: SettingColumns) => ({
  misfire: jsonb(misfire),
  dst: jsonb(dst),
  input: jsonb(input),
  alerts: alerts && jsonb(alerts),
})

/** Null: the recipe has a schedule of this name. */
export async function insertSchedule(
  tx: Transaction<Database>,
  { actor }: Tenant,
  recipeId: string,
  settings: SettingColumns,
  now: Date,
): Promise<ScheduleRow | null> {
  const id = uuidv7()
  const row = await tx
    .insertInto('schedules')
    .values({
      ...settings,
      ...jsonColumns(settings),
      ...placement({ ...settings, id }, now),
      id,
      workspace_id: actor.workspaceId,
      recipe_id: recipeId,
      accounted_until: now,
      paused_at: settings.paused ? now : null,
      created_at: now,
      updated_at: now,
    })
    .onConflict((conflict) => conflict.columns(['recipe_id', 'name']).doNothing())
    .returningAll()
    .executeTakeFirst()
  return row ?? null
}

/**
 * Changes a locked schedule. Where the change ends a stretch of slots (a pause that is over, other slots, a fault that
 * is mended), those of them that are past go into the ledger with the reason, and the new slots begin now.
 */
export async function changeSchedule(
  tx: Transaction<Database>,
  row: ScheduleRow,
  settings: SettingColumns,
  now: Date,
): Promise<ScheduleRow> {
  const endsPause = row.paused && !settings.paused
  const endsStretch = endsPause || row.fault !== null || hasOtherSlots(row, settings)
  if (endsStretch) await accountForPast(tx, row, now)
  // What an overlap holds back is held by the policy that is given up here.
  const releases = settings.overlap !== row.overlap && (settings.overlap === 'allow' || settings.overlap === 'skip')
  if (releases) await dropPendingSlots(tx, [row.id], { status: 'skipped', reason: 'edited' })
  const accountedUntil = endsStretch
    ? new Date(Math.max(now.getTime(), row.accounted_until.getTime()))
    : row.accounted_until
  if (settings.paused !== row.paused) await pausePings(tx, row.id, settings.paused)
  return tx
    .updateTable('schedules')
    .set({
      ...settings,
      ...jsonColumns(settings),
      ...placement({ ...settings, id: row.id }, accountedUntil),
      accounted_until: accountedUntil,
      paused_at: settings.paused ? (row.paused_at ?? now) : null,
      ...(settings.paused && { overdue_at: null }),
      fault: null,
      updated_at: now,
    })
    .where('id', '=', row.id)
    .where('workspace_id', '=', row.workspace_id)
    .returningAll()
    .executeTakeFirstOrThrow()
}

async function accountForPast(tx: Transaction<Database>, row: ScheduleRow, now: Date) {
  const stretch = pastStretch(row, now)
  if (!stretch) return
  const reason = row.paused ? 'paused' : row.fault !== null ? 'fault' : 'edited'
  await insertLedgerRows(tx, [
    {
      scheduleId: row.id,
      workspaceId: row.workspace_id,
      slotAt: stretch.from,
      status: 'skipped',
      reason,
      late: false,
      slotTo: stretch.count > 1 ? stretch.to : null,
      count: stretch.count,
      runId: null,
    },
  ])
}

function pastStretch(row: ScheduleRow, now: Date) {
  try {
    return stretchOf(specOf(row), row.accounted_until, now)
  } catch (error) {
    // A parked schedule whose slots cannot be computed has none that could be accounted for.
    if (row.fault !== null) return null
    throw error
  }
}
