import { sql } from 'kysely'
import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import { keptHours } from '../../lib/idempotency-key.ts'
import { unstoredHours } from './store-file.ts'

const batchSize = 200
const blobsAtOnce = 8
/** Whoever takes keys and dies leaves them to others after this. */
const takenMinutes = 5

/** Deletes files that are over or were never finished; what they leave behind goes with `eraseDoomed`. */
async function expireFiles({ db }: Pick<Runtime, 'db'>): Promise<TickReport> {
  const over = await sql`
    delete from files where id in (
      select id from files where expires_at <= app_now()
      order by expires_at limit ${batchSize}::integer for update skip locked)`.execute(db)
  const unfinished = await sql`
    delete from files where id in (
      select id from files where not stored and created_at <= app_now() - ${unstoredHours}::integer * interval '1 hour'
      order by created_at limit ${batchSize}::integer for update skip locked)`.execute(db)
  const keys = await sql`
    update files set idempotency_key = null, request_hash = null where id in (
      select id from files where idempotency_key is not null
        and created_at <= app_now() - ${keptHours}::integer * interval '1 hour'
      order by created_at limit ${batchSize}::integer for update skip locked)`.execute(db)
  return report([over, unfinished, keys].map(({ numAffectedRows }) => Number(numAffectedRows ?? 0)))
}

/** Large values are noted before their run may exist. A day later it does, or they are nobody's. */
async function settleRunBlobs({ db }: Pick<Runtime, 'db'>): Promise<TickReport> {
  const { rows } = await sql<{ count: number }>`
    with old as materialized (
      select key, run_id from run_blobs where not settled and created_at <= app_now() - interval '1 day'
      order by created_at limit ${batchSize}::integer for update skip locked
    ), kept as (
      update run_blobs b set settled = true from old
      where b.key = old.key and exists (select from runs where id = old.run_id)
    ), gone as (
      delete from run_blobs b using old
      where b.key = old.key and not exists (select from runs where id = old.run_id)
      returning b.key
    ), doomed as (
      insert into doomed_blobs (key) select key from gone on conflict do nothing
    )
    select count(*)::integer as count from old`.execute(db)
  return report([rows[0]?.count ?? 0])
}

async function eraseDoomed(runtime: Pick<Runtime, 'db' | 'blobs' | 'log'>): Promise<TickReport> {
  const { rows } = await sql<{ key: string }>`
    update doomed_blobs set due_at = app_now() + ${takenMinutes}::integer * interval '1 minute'
    where key in (select key from doomed_blobs where due_at <= app_now()
      order by due_at limit ${batchSize}::integer for update skip locked)
    returning key`.execute(runtime.db)
  const erased = await eraseBlobs(
    runtime,
    rows.map(({ key }) => key),
  )
  return { done: erased, more: rows.length >= batchSize }
}

/** Bytes first, then the note of them: a crash in between erases what is gone already. A store that is away is asked again later. */
export async function eraseBlobs(
  { db, blobs, log }: Pick<Runtime, 'db' | 'blobs' | 'log'>,
  keys: readonly string[],
): Promise<number> {
  const erased: string[] = []
  for (let at = 0; at < keys.length; at += blobsAtOnce) {
    const some = keys.slice(at, at + blobsAtOnce)
    const ends = await Promise.allSettled(some.map((key) => blobs.delete(key)))
    ends.forEach((end, index) => {
      if (end.status === 'fulfilled') erased.push(some[index]!)
      else
        log.warn('Bytes could not be deleted; it is tried again.', { key: some[index], error: end.reason as unknown })
    })
  }
  if (erased.length > 0) await db.deleteFrom('doomed_blobs').where('key', 'in', erased).execute()
  return erased.length
}

const report = (counts: number[]): TickReport => ({
  done: counts.reduce((sum, count) => sum + count, 0),
  more: counts.some((count) => count >= batchSize),
})

/** A bounded batch of each, on any number of processes at once. */
export const filesService: BackgroundService = {
  name: 'files',
  periodMs: 60_000,
  async tick(runtime) {
    const reports = [await expireFiles(runtime), await settleRunBlobs(runtime), await eraseDoomed(runtime)]
    return { done: reports.reduce((sum, { done }) => sum + done, 0), more: reports.some(({ more }) => more) }
  },
}
