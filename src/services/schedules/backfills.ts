import { sql, type Kysely } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { newestFirst } from '../../db/keyset.ts'
import type { ScheduleRow } from '../../db/tables/schedules.table.ts'
import type { ScheduleBackfillRow } from '../../db/tables/schedule-operations.table.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { nextSlot } from '../../lib/slots/slots.ts'
import { stretchOf, type Stretch } from '../../lib/slots/stretch.ts'
import { requirePermission } from '../../lib/require-permission.ts'
import { recordAudit, type AuditContext } from '../audit/record.ts'
import { ledgerBegins } from '../retention/expire-ledger.ts'
import { cancelRunTrees, tellOf, type Cancellation } from '../runs/children.ts'
import { findSchedule, lockSchedule } from './store.ts'
import { databaseNow, specOf } from './timing.ts'

type Context = Pick<ServiceContext, 'db' | 'wake' | 'config'> & AuditContext

export const maxBackfillSlots = 10_000
/** Counting the slots of a window takes longer with every clock change in it. */
const maxWindowMs = 10 * 366 * 86_400_000

/** A backfill on the wire. */
export interface BackfillView {
  id: string
  schedule_id: string
  status: ScheduleBackfillRow['state']
  from: string
  to: string
  concurrency: number
  /** Of the window. Each is fired or passed over in the end, unless the backfill is canceled. */
  slots: number
  fired: number
  passed_over: number
  remaining: number
  executions: { open: number; succeeded: number; failed: number; canceled: number }
  fault: string | null
  created_at: string
  finished_at: string | null
}

/** Takes on the slots of a window that never fired. The tick works them off: nothing fires in the request. */
export async function createBackfill(
  ctx: Context,
  input: { id: string; from: string; to: string; concurrency: number },
): Promise<BackfillView> {
  requirePermission(ctx, 'recipes:execute')
  const view = await ctx.db.transaction().execute(async (tx) => {
    const schedule = await lockSchedule(tx, ctx, input.id)
    const window = readWindow(schedule, input, await databaseNow(tx), await ledgerBegins({ ...ctx, db: tx }))
    const id = uuidv7()
    const made = await tx
      .insertInto('schedule_backfills')
      .values({
        id,
        workspace_id: ctx.actor.workspaceId,
        schedule_id: schedule.id,
        state: 'running',
        from_at: window.from,
        to_at: window.to,
        concurrency: input.concurrency,
        slots: window.stretch.count,
        cursor_at: new Date(window.from.getTime() - 1),
        created_by: ctx.actor.kind === 'key' ? ctx.actor.id : null,
      })
      .onConflict((conflict) => conflict.doNothing())
      .returning('id')
      .executeTakeFirst()
    if (!made) throw new AppError('conflict', 'The schedule has a backfill under way. Wait for it, or cancel it.')
    await recordAudit(tx, ctx, {
      action: 'schedule.backfill_created',
      target: { type: 'schedule', id: schedule.id },
      after: {
        backfill: id,
        from: window.from.toISOString(),
        to: window.to.toISOString(),
        slots: window.stretch.count,
      },
    })
    return readBackfill(tx, ctx, schedule.id, id)
  })
  ctx.wake.schedulesChanged()
  return view
}

export async function getBackfill(
  ctx: Pick<ServiceContext, 'db' | 'actor'>,
  { id, backfill }: { id: string; backfill: string },
): Promise<BackfillView> {
  const schedule = await findSchedule(ctx.db, ctx, id)
  return readBackfill(ctx.db, ctx, schedule.id, backfill)
}

export async function listBackfills(
  ctx: Pick<ServiceContext, 'db' | 'actor'>,
  { id, ...page }: PageRequest & { id: string },
): Promise<Page<BackfillView>> {
  const schedule = await findSchedule(ctx.db, ctx, id)
  const all = selectBackfills(ctx.db, ctx).where('schedule_id', '=', schedule.id)
  return toPage(await newestFirst(all, page).execute(), page.limit, byCreation, toView)
}

/** No further slot fires. Runs under way go on, unless they are to be canceled as well. */
export async function cancelBackfill(
  ctx: ServiceContext,
  input: { id: string; backfill: string; cancelExecutions: boolean },
): Promise<BackfillView> {
  let canceled: Cancellation = { ended: [], commanded: [] }
  const view = await ctx.db.transaction().execute(async (tx) => {
    const schedule = await findSchedule(tx, ctx, input.id)
    const { id, status } = await readBackfill(tx, ctx, schedule.id, input.backfill)
    const open = tx
      .selectFrom('schedule_backfills')
      .select('id')
      .where('id', '=', id)
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('state', 'in', ['running', 'canceling'])
      .forUpdate()
    if (!(await open.executeTakeFirst())) {
      if (status === 'canceled') return readBackfill(tx, ctx, schedule.id, id)
      throw new AppError('conflict', `The backfill has ended already: it is ${status}.`)
    }
    const runs = await tx
      .selectFrom('schedule_backfill_runs')
      .select('run_id')
      .where('backfill_id', '=', id)
      .orderBy('run_id')
      .execute()
    if (input.cancelExecutions) {
      const ids = runs.map(({ run_id }) => run_id)
      canceled = await cancelRunTrees(tx, ids, 'Its backfill was canceled.')
    }
    await tx
      .updateTable('schedule_backfills')
      .set({
        state: runs.length > 0 ? 'canceling' : 'canceled',
        ...(runs.length === 0 && { finished_at: sql<Date>`app_now()` }),
      })
      .where('id', '=', id)
      .execute()
    await recordAudit(tx, ctx, {
      action: 'schedule.backfill_canceled',
      target: { type: 'schedule', id: schedule.id },
      after: { backfill: id, cancel_executions: input.cancelExecutions },
    })
    return readBackfill(tx, ctx, schedule.id, id)
  })
  await tellOf(ctx, canceled)
  return view
}

function readWindow(
  schedule: ScheduleRow,
  input: { from: string; to: string },
  now: Date,
  begins: Date | null,
): { from: Date; to: Date; stretch: Stretch } {
  const [from, to] = [new Date(input.from), new Date(input.to)]
  const refuse = (pointer: string, detail: string): never => {
    const errors: Fault[] = [{ pointer, detail }]
    throw new AppError('invalid', 'The window cannot be filled.', { errors })
  }
  if (to > now) refuse('/to', 'must not be later than now')
  if (from >= to) refuse('/from', 'must be earlier than to')
  // What fired there is not in the ledger any more, and would fire once more.
  if (begins && from < begins)
    refuse('/from', `must not be before the ledger, which is kept from ${begins.toISOString()} on`)
  if (to.getTime() - from.getTime() > maxWindowMs) refuse('/from', 'must be at most ten years before to')
  const spec = specOf(schedule)
  // What is due and not in the ledger yet belongs to the tick, or to the end of the pause.
  const known = schedule.accounted_until.getTime() + 1
  const unknown = to.getTime() > known ? nextSlot(spec, schedule.accounted_until) : null
  const leavesOut = unknown !== null && unknown < to
  if (leavesOut && (schedule.paused || schedule.fault !== null))
    refuse('/to', `must not be later than ${unknown.toISOString()} before the schedule is resumed`)
  const end = leavesOut ? new Date(known) : to
  const stretch = from < end ? stretchOf(spec, new Date(from.getTime() - 1), new Date(end.getTime() - 1)) : null
  if (!stretch) return refuse('/from', 'leaves no slot that is past')
  if (stretch.count > maxBackfillSlots)
    refuse('/from', `leaves ${stretch.count} slots; a backfill takes at most ${maxBackfillSlots}`)
  return { from, to: end, stretch }
}

const selectBackfills = (db: Kysely<Database>, { actor }: Pick<ServiceContext, 'actor'>) =>
  db
    .selectFrom('schedule_backfills')
    .selectAll()
    .select(
      sql<number>`(select count(*)::int from schedule_backfill_runs x where x.backfill_id = schedule_backfills.id)`.as(
        'open',
      ),
    )
    .where('workspace_id', '=', actor.workspaceId)

async function readBackfill(
  db: Kysely<Database>,
  ctx: Pick<ServiceContext, 'actor'>,
  scheduleId: string,
  id: string,
): Promise<BackfillView> {
  const query = selectBackfills(db, ctx).where('schedule_id', '=', scheduleId).where('id', '=', id)
  const row = isUuid(id) ? await query.executeTakeFirst() : undefined
  if (!row) throw new AppError('not-found', `There is no backfill ${id.slice(0, 100)} of this schedule.`)
  return toView(row)
}

const toView = (row: ScheduleBackfillRow & { open: number }): BackfillView => ({
  id: row.id,
  schedule_id: row.schedule_id,
  status: row.state,
  from: row.from_at.toISOString(),
  to: row.to_at.toISOString(),
  concurrency: row.concurrency,
  slots: row.slots,
  fired: row.fired,
  passed_over: row.passed_over,
  remaining: Math.max(0, row.slots - row.fired - row.passed_over),
  executions: { open: row.open, succeeded: row.succeeded, failed: row.failed, canceled: row.canceled },
  fault: row.fault,
  created_at: row.created_at.toISOString(),
  finished_at: row.finished_at?.toISOString() ?? null,
})
