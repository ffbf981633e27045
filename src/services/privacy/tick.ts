import { sql } from 'kysely'
import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import { scopedTo } from '../../db/scope.ts'
import { tarEnd } from '../../lib/tar.ts'
import { archiveFiles, type Progress } from './archive.ts'
import { expiry, partKey, type ExportRow } from './exports.ts'

/** Of a part, before it is compressed. The largest file comes on top. */
const partBytes = 4 * 1024 * 1024
/** A pass is short; the next one goes on. */
const partsAtOnce = 8
const leaseMinutes = 5
/** Without a part between them. */
const mostAttempts = 5
const expiredAtOnce = 50

/** Makes the next parts of the archive that nobody is at and that has waited longest. */
async function makeParts(runtime: Runtime): Promise<TickReport> {
  const { db } = runtime
  const row = await claim(runtime)
  if (!row) return { done: 0, more: false }
  if (row.attempts > mostAttempts) {
    await finish(runtime, row, {
      state: 'failed',
      error: 'It could not be made; the log has the reason.',
      expires_at: expiry,
    })
    return { done: 1, more: true }
  }
  const source = {
    db: scopedTo(db, row.workspace_id),
    blobs: runtime.blobs,
    workspaceId: row.workspace_id,
    userId: row.user_id,
    at: row.created_at,
  }
  const own = { ...row, made: row.parts, bytes: Number(row.size ?? 0) }
  let held: Uint8Array[] = []
  let size = 0
  let made = 0
  // Safe: only this service writes it.
  for await (const { file, progress } of archiveFiles(source, row.progress as Progress | null)) {
    held.push(file)
    size += file.length
    if (size < partBytes) continue
    if (!(await store(runtime, own, held, progress))) return { done: made, more: true }
    held = []
    size = 0
    if (++made >= partsAtOnce) {
      await release(runtime, row)
      return { done: made, more: true }
    }
  }
  if (!(await store(runtime, own, [...held, tarEnd()], null))) return { done: made, more: true }
  await finish(runtime, row, { state: 'ready', error: null, expires_at: expiry })
  return { done: made + 1, more: true }
}

async function claim({ db }: Pick<Runtime, 'db'>): Promise<ExportRow | undefined> {
  return db
    .updateTable('privacy_exports')
    .set({
      state: 'running',
      leased_until: sql<Date>`app_now() + ${leaseMinutes}::integer * interval '1 minute'`,
      attempts: sql<number>`attempts + 1`,
    })
    .where('id', '=', ({ selectFrom }) =>
      selectFrom('privacy_exports')
        .select('id')
        .where('state', 'in', ['queued', 'running'])
        .where(sql<boolean>`(leased_until is null or leased_until <= app_now())`)
        // In turn: a large one keeps no other waiting.
        .orderBy('leased_until', (order) => order.asc().nullsFirst())
        .orderBy('created_at')
        .limit(1)
        .forUpdate()
        .skipLocked(),
    )
    .returningAll()
    .executeTakeFirst()
}

/**
 * The bytes first, under the key that the database already counts among those of the export, then the word that they are
 * there. Each part is a whole gzip member, so the parts one after the other are one archive. False: it was deleted meanwhile,
 * or is another's.
 */
async function store(
  { db, blobs }: Runtime,
  own: ExportRow & { made: number; bytes: number },
  held: Uint8Array[],
  progress: Progress | null,
): Promise<boolean> {
  const bytes = await gzip(held)
  await blobs.put(partKey(own, own.made + 1), bytes, { mediaType: 'application/gzip' })
  const { numUpdatedRows } = await db
    .updateTable('privacy_exports')
    .set({
      parts: own.made + 1,
      size: own.bytes + bytes.length,
      attempts: 0,
      ...(progress && { progress: jsonb(progress) }),
      leased_until: sql<Date>`app_now() + ${leaseMinutes}::integer * interval '1 minute'`,
    })
    .where('id', '=', own.id)
    .where('parts', '=', own.made)
    .executeTakeFirst()
  if (numUpdatedRows === 0n) {
    await noteOrphan({ db }, partKey(own, own.made + 1), own.id)
    return false
  }
  own.made++
  own.bytes += bytes.length
  return true
}

/** Where the export is gone its part is nobody's; where another makes it the part is overwritten with the same rows. */
async function noteOrphan({ db }: Pick<Runtime, 'db'>, key: string, id: string): Promise<void> {
  await sql`insert into doomed_blobs (key) select ${key}
    where not exists (select from privacy_exports where id = ${id}) on conflict (key) do update set due_at = app_now()`.execute(
    db,
  )
}

const release = ({ db }: Runtime, { id }: ExportRow) =>
  db
    .updateTable('privacy_exports')
    .set({ leased_until: sql<Date>`app_now() - interval '1 millisecond'` })
    .where('id', '=', id)
    .execute()

const finish = (
  { db }: Runtime,
  { id }: ExportRow,
  end: { state: 'ready' | 'failed'; error: string | null; expires_at: typeof expiry },
) =>
  db
    .updateTable('privacy_exports')
    .set({ ...end, leased_until: null, finished_at: sql<Date>`app_now()` })
    .where('id', '=', id)
    .execute()

async function gzip(pieces: Uint8Array[]): Promise<Uint8Array> {
  const stream = new Blob(pieces as Uint8Array<ArrayBuffer>[]).stream().pipeThrough(new CompressionStream('gzip'))
  return new Uint8Array(await new Response(stream).arrayBuffer())
}

/** Their parts are noted by the deletion and go with the other files. */
async function expire({ db }: Pick<Runtime, 'db'>): Promise<TickReport> {
  const { numAffectedRows } = await sql`
    delete from privacy_exports where id in (
      select id from privacy_exports where expires_at <= app_now()
      order by expires_at limit ${expiredAtOnce}::integer for update skip locked)`.execute(db)
  const done = Number(numAffectedRows ?? 0)
  return { done, more: done >= expiredAtOnce }
}

export const privacyService: BackgroundService = {
  name: 'privacy',
  periodMs: 15_000,
  async tick(runtime) {
    const reports = [await makeParts(runtime), await expire(runtime)]
    return { done: reports.reduce((sum, { done }) => sum + done, 0), more: reports.some(({ more }) => more) }
  },
}
