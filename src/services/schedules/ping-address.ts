import { sql, type Kysely } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import type { SchedulePingRow } from '../../db/tables/schedule-operations.table.ts'
import type { ScheduleRow } from '../../db/tables/schedules.table.ts'
import { toBase64Url } from '../../lib/base64url.ts'
import { sha256Hex } from '../../lib/canonical.ts'
import { parseDuration } from '../../lib/duration.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import { entityTag, requireMatch } from '../../lib/etag.ts'
import { recordAudit, type AuditContext } from '../audit/record.ts'
import { dueFromNow } from './pings.ts'
import { findSchedule, lockSchedule } from './store.ts'

type Context = Pick<ServiceContext, 'db'> & AuditContext
type Span = string | number

const maxSeconds = 366 * 86_400
const defaultGraceSeconds = 300

/** The dead-man's switch of a schedule on the wire. Durations are seconds. */
export interface PingView {
  schedule_id: string
  period: number
  grace: number
  status: 'waiting' | 'ok' | 'overdue' | 'paused'
  last_ping_at: string | null
  /** When it becomes overdue unless a ping comes. */
  due_at: string | null
  overdue_since: string | null
  created_at: string
  updated_at: string
}

/** Pings come and go; what makes an edit stale is a change of the period, or another address. */
export const pingTag = ({ schedule_id, period, grace, updated_at, ...state }: PingView): string =>
  entityTag({ schedule_id, period, grace, updated_at }, state)

const audited = (tx: Kysely<Database>, ctx: Context, verb: string, { id }: ScheduleRow, after?: object) =>
  recordAudit(tx, ctx, { action: `schedule.ping_${verb}`, target: { type: 'schedule', id }, ...(after && { after }) })

/** Gives the schedule an address to call, or another in place of the one that it had: that one works no longer. */
export async function createPing(
  ctx: Context & Pick<ServiceContext, 'random' | 'config'>,
  input: { id: string; period: Span; grace?: Span | undefined },
): Promise<PingView & { url: string }> {
  const { period, grace } = readSpans(input, { period_s: 0, grace_s: defaultGraceSeconds })
  const token = toBase64Url(ctx.random(32))
  const view = await ctx.db.transaction().execute(async (tx) => {
    const schedule = await lockSchedule(tx, ctx, input.id)
    const values = {
      workspace_id: ctx.actor.workspaceId,
      token_hash: sha256Hex(token),
      period_s: period,
      grace_s: grace,
      last_ping_at: null,
      due_at: schedule.paused ? null : sql<Date>`app_now() + make_interval(secs => ${period + grace}::int)`,
      created_at: sql<Date>`app_now()`,
      updated_at: sql<Date>`app_now()`,
    }
    const { created_at: _, ...changed } = values
    await tx
      .insertInto('schedule_pings')
      .values({ ...values, schedule_id: schedule.id })
      .onConflict((conflict) => conflict.column('schedule_id').doUpdateSet(changed))
      .execute()
    await tx.updateTable('schedules').set({ overdue_at: null }).where('id', '=', schedule.id).execute()
    await audited(tx, ctx, 'created', schedule, { period, grace })
    return readPing(tx, { ...schedule, overdue_at: null })
  })
  return { ...view, url: `${ctx.config.apiUrl.replace(/\/$/, '')}/api/pings/${token}` }
}

export async function getPing(ctx: Context, { id }: { id: string }): Promise<PingView> {
  return readPing(ctx.db, await findSchedule(ctx.db, ctx, id))
}

/** A new period counts from now on. */
export async function updatePing(
  ctx: Context,
  input: { id: string; period?: Span | undefined; grace?: Span | undefined; ifMatch?: string | null },
): Promise<PingView> {
  return ctx.db.transaction().execute(async (tx) => {
    const schedule = await lockSchedule(tx, ctx, input.id)
    const current = await findPing(tx, schedule)
    requireMatch(input.ifMatch ?? null, pingTag(toPingView(current, schedule)))
    const { period, grace } = readSpans(input, current)
    await tx
      .updateTable('schedule_pings')
      .set({ period_s: period, grace_s: grace, updated_at: sql<Date>`app_now()` })
      .where('schedule_id', '=', schedule.id)
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .execute()
    if (!schedule.paused && schedule.overdue_at === null)
      await tx
        .updateTable('schedule_pings')
        .set({ due_at: dueFromNow })
        .where('schedule_id', '=', schedule.id)
        .execute()
    await audited(tx, ctx, 'updated', schedule, { period, grace })
    return readPing(tx, schedule)
  })
}

/** The address works no longer, and nothing is expected any more. */
export async function deletePing(ctx: Context, { id, ifMatch = null }: { id: string; ifMatch?: string | null }) {
  await ctx.db.transaction().execute(async (tx) => {
    const schedule = await lockSchedule(tx, ctx, id)
    requireMatch(ifMatch, pingTag(await readPing(tx, schedule)))
    await tx
      .deleteFrom('schedule_pings')
      .where('schedule_id', '=', schedule.id)
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .execute()
    await tx.updateTable('schedules').set({ overdue_at: null }).where('id', '=', schedule.id).execute()
    await audited(tx, ctx, 'deleted', schedule)
  })
}

const readPing = async (db: Kysely<Database>, schedule: ScheduleRow): Promise<PingView> =>
  toPingView(await findPing(db, schedule), schedule)

async function findPing(db: Kysely<Database>, schedule: ScheduleRow): Promise<SchedulePingRow> {
  const row = await db
    .selectFrom('schedule_pings')
    .selectAll()
    .where('schedule_id', '=', schedule.id)
    .where('workspace_id', '=', schedule.workspace_id)
    .executeTakeFirst()
  if (!row) throw new AppError('not-found', `Schedule ${schedule.id} has no ping address.`)
  return row
}

const toPingView = (row: SchedulePingRow, schedule: ScheduleRow): PingView => ({
  schedule_id: row.schedule_id,
  period: row.period_s,
  grace: row.grace_s,
  status: schedule.paused
    ? 'paused'
    : schedule.overdue_at !== null
      ? 'overdue'
      : row.last_ping_at === null
        ? 'waiting'
        : 'ok',
  last_ping_at: row.last_ping_at?.toISOString() ?? null,
  due_at: row.due_at?.toISOString() ?? null,
  overdue_since: schedule.overdue_at?.toISOString() ?? null,
  created_at: row.created_at.toISOString(),
  updated_at: row.updated_at.toISOString(),
})

function readSpans(
  given: { period?: Span | undefined; grace?: Span | undefined },
  kept: Pick<SchedulePingRow, 'period_s' | 'grace_s'>,
): { period: number; grace: number } {
  const errors: Fault[] = []
  const read = (field: 'period' | 'grace', min: number, otherwise: number): number => {
    const value = given[field]
    if (value === undefined) return otherwise
    const ms = typeof value === 'number' ? value * 1000 : parseDuration(value)
    if (ms !== null && ms % 1000 === 0 && ms >= min * 1000 && ms <= maxSeconds * 1000) return ms / 1000
    const detail = `must be a duration such as 90s or 1h30m, or a whole number of seconds, from ${min} to ${maxSeconds}`
    errors.push({ pointer: `/${field}`, detail })
    return otherwise
  }
  const spans = { period: read('period', 1, kept.period_s), grace: read('grace', 0, kept.grace_s) }
  if (errors.length > 0) throw new AppError('invalid', 'The ping cannot be expected like this.', { errors })
  return spans
}
