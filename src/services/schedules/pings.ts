import { sql, type Kysely, type Transaction } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { Runtime } from '../../context.ts'
import { sha256Hex } from '../../lib/canonical.ts'
import { AppError } from '../../lib/errors.ts'
import { recordScheduleEvents, type EventSource } from './events.ts'

/** 32 random bytes. */
const tokenPattern = /^[A-Za-z0-9_-]{43}$/
const batch = 100

/** While a schedule is paused nothing is expected; when it is resumed, the period begins anew. */
export async function pausePings(tx: Transaction<Database>, scheduleId: string, paused: boolean): Promise<void> {
  await tx
    .updateTable('schedule_pings')
    .set({ due_at: paused ? null : dueFromNow })
    .where('schedule_id', '=', scheduleId)
    .execute()
}

export const dueFromNow = sql<Date>`app_now() + make_interval(secs => period_s + grace_s)`

/** An outside job says that it is alive. Whoever knows the address may call; nothing of the schedule is told. */
export async function receivePing({ db }: Pick<Runtime, 'db'>, token: string): Promise<{ received_at: string }> {
  const unknown = new AppError('not-found', 'There is no such ping address.')
  if (!tokenPattern.test(token)) throw unknown
  const { rows } = await sql<{ schedule_id: string; last_ping_at: Date }>`
    update schedule_pings p set last_ping_at = app_now(),
      due_at = case when s.paused then null else app_now() + make_interval(secs => p.period_s + p.grace_s) end
    from schedules s where s.id = p.schedule_id and p.token_hash = ${sha256Hex(token)}
    returning p.schedule_id, p.last_ping_at`.execute(db)
  const ping = rows[0]
  if (!ping) throw unknown
  await recover(db, ping.schedule_id)
  return { received_at: ping.last_ping_at.toISOString() }
}

/**
 * Looked at once the ping is committed, because only then no tick finds the schedule overdue any more: what is marked now
 * was marked before. Apart from the ping's own statement, so that schedules are always locked before their pings.
 */
async function recover(db: Kysely<Database>, scheduleId: string): Promise<void> {
  const schedule = await db.selectFrom('schedules').select('overdue_at').where('id', '=', scheduleId).executeTakeFirst()
  if (!schedule?.overdue_at) return
  const since = schedule.overdue_at
  await db.transaction().execute(async (tx) => {
    const row = await tx
      .updateTable('schedules')
      .set({ overdue_at: null })
      .where('id', '=', scheduleId)
      .where('overdue_at', 'is not', null)
      .returning(['id', 'workspace_id', 'recipe_id', 'name', 'alerts'])
      .executeTakeFirst()
    if (!row) return
    const data = { overdue_since: since.toISOString() }
    await recordScheduleEvents(tx, [{ schedule: row, type: 'schedule.recovered', data }])
  })
}

interface SilentRow extends EventSource {
  due_at: Date
  last_ping_at: Date | null
  period_s: number
  grace_s: number
}

/** Marks schedules whose job has been silent for too long: each once, until it calls again. Answers how many. */
export async function markOverdue(db: Kysely<Database>): Promise<number> {
  return db.transaction().execute(async (tx) => {
    const { rows } = await sql<SilentRow>`
      select s.id, s.workspace_id, s.recipe_id, s.name, s.alerts, p.due_at, p.last_ping_at, p.period_s, p.grace_s
      from schedule_pings p join schedules s on s.id = p.schedule_id
      where p.due_at <= app_now()
      order by p.due_at limit ${batch}
      for update of s, p skip locked`.execute(tx)
    if (rows.length === 0) return 0
    const ids = rows.map((row) => row.id)
    await tx.updateTable('schedule_pings').set({ due_at: null }).where('schedule_id', 'in', ids).execute()
    await tx
      .updateTable('schedules')
      .set({ overdue_at: sql<Date>`app_now()` })
      .where('id', 'in', ids)
      .execute()
    await recordScheduleEvents(
      tx,
      rows.map(({ due_at, last_ping_at, period_s, grace_s, ...schedule }) => ({
        schedule,
        type: 'schedule.overdue' as const,
        data: {
          due_at: due_at.toISOString(),
          last_ping_at: last_ping_at?.toISOString() ?? null,
          period: period_s,
          grace: grace_s,
        },
      })),
    )
    return rows.length
  })
}
