import { sql } from 'kysely'
import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import { roles, scopedTo } from '../../db/scope.ts'
import { DatabaseAway } from '../../lib/database-away.ts'
import { recordAudit } from '../audit/record.ts'
import { eraseBlobs } from '../files/sweep.ts'
import { byInvitation } from '../identity/invited-issuer.ts'
import { applyRunLimits } from './limits.ts'

/** Rows of one call. A run takes its steps, calls and events along, so there are fewer of them. */
const mostRows = 2_000
const mostRuns = 100
const mostBlobs = 200
/** Workspaces that are tried one after the other until one lets itself be purged. */
const mostDue = 50

type PurgeContext = Pick<Runtime, 'db' | 'blobs' | 'log'>

/**
 * Deletes a bounded part of a workspace for good; call it until it reports no `more`. What belongs to it is found in the
 * database's own catalogue, so no table can be forgotten. Its row goes last: whoever stops in between can go on, and any number
 * may do it at once.
 */
export async function purgeWorkspace(runtime: PurgeContext, workspaceId: string): Promise<TickReport> {
  const { db } = runtime
  // From here on nothing is let in, claimed or restored, whoever asked for the purge.
  await sql`
    update workspaces set deleted_at = coalesce(deleted_at, app_now()), purge_after = least(purge_after, app_now())
    where id = ${workspaceId} and (deleted_at is null or purge_after is null or purge_after > app_now())`.execute(db)
  // A person whom an invitation made is known nowhere else.
  await sql`
    delete from users where issuer = ${byInvitation}
      and id in (select user_id from memberships where workspace_id = ${workspaceId}
        union all select user_id from api_keys where workspace_id = ${workspaceId})`.execute(db)
  const rows = await purgeRows(runtime, workspaceId)
  const blobs = await purgeBlobs(runtime, workspaceId)
  const done = rows + blobs
  if (rows > 0 || blobs >= mostBlobs) return { done, more: true }
  const gone = await db.deleteFrom('workspaces').where('id', '=', workspaceId).executeTakeFirst()
  // Nothing new can name it now; what did just before goes too.
  await purgeRows(runtime, workspaceId)
  return { done: done + Number(gone.numDeletedRows), more: false }
}

async function purgeRows({ db }: PurgeContext, workspaceId: string): Promise<number> {
  const own = scopedTo(db, workspaceId)
  let left = mostRows
  for (const table of await tablesWithRows(own, workspaceId)) {
    if (left <= 0) break
    const { numAffectedRows } = await sql`
      delete from ${sql.table(table)} where ctid = any(array(
        select ctid from ${sql.table(table)} where workspace_id = ${workspaceId}
        limit ${table === 'runs' ? mostRuns : left}::integer))`.execute(own)
    left -= Number(numAffectedRows ?? 0)
  }
  return mostRows - left
}

/** Those by which callers come in first, the log of what was done last. Another product in the schema may have its own. */
async function tablesWithRows(db: PurgeContext['db'], workspaceId: string): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid
    where a.attname = 'workspace_id' and not a.attisdropped and c.relkind in ('r', 'p')
      and c.relnamespace = (select oid from pg_namespace where nspname = current_schema())
      and c.relowner = (select oid from pg_roles where rolname = ${roles.migrator})
    order by c.relname not in ('api_keys', 'memberships', 'invitations'), c.relname = 'audit_heads', c.relname`.execute(
    db,
  )
  if (rows.length === 0) return []
  const looks = rows.map(
    ({ name }) => sql`select ${sql.lit(name)} as name
      where exists (select from ${sql.table(name)} where workspace_id = ${workspaceId})`,
  )
  const found = await sql<{ name: string }>`${sql.join(looks, sql` union all `)}`.execute(db)
  return found.rows.map(({ name }) => name)
}

/** Every key of a blob that belongs to a workspace has the workspace's id as a segment. */
async function purgeBlobs(runtime: PurgeContext, workspaceId: string): Promise<number> {
  const segment = `/${workspaceId}/`
  // Those of runs that never came to be; the others went with their runs.
  await sql`
    with gone as (delete from run_blobs where strpos(key, ${segment}) > 0 returning key)
    insert into doomed_blobs (key) select key from gone on conflict do nothing`.execute(runtime.db)
  const { rows } = await sql<{ key: string }>`
    select key from doomed_blobs where strpos(key, ${segment}) > 0 limit ${mostBlobs}::integer`.execute(runtime.db)
  // What the store does not give up now is asked for again with the other files.
  return eraseBlobs(
    runtime,
    rows.map(({ key }) => key),
  )
}

async function tick(runtime: Runtime): Promise<TickReport> {
  const { db } = runtime
  const more = await applyRunLimits(db)
  const due = await db
    .selectFrom('workspaces')
    .select(['id', 'name', 'slug'])
    .where('purge_after', '<=', sql<Date>`app_now()`)
    .orderBy('purge_after')
    .limit(mostDue)
    .execute()
  for (const over of due) {
    try {
      const purged = await purgeWorkspace(runtime, over.id)
      if (!purged.more && purged.done > 0) await recordPurge(runtime, over)
      return { done: purged.done, more: true }
    } catch (error) {
      if (error instanceof DatabaseAway) throw error
      // The others do not wait for it.
      runtime.log.error('A workspace could not be purged.', { workspace_id: over.id, error })
    }
  }
  return { done: 0, more }
}

/** Its own log is gone with it, so the operator's tells. */
async function recordPurge({ db }: Runtime, { id, slug }: { id: string; slug: string }): Promise<void> {
  const operator = await db.selectFrom('workspaces').select('id').where('is_operator', '=', true).executeTakeFirst()
  if (!operator) return
  const actor = { kind: 'system', id: 'purge', workspaceId: operator.id, permissions: new Set<never>() } as const
  await recordAudit(db, { actor }, { action: 'workspace.purged', target: { type: 'workspace', id }, before: { slug } })
}

/** Takes workspaces whose time is up, and tells the engine what plans say of runs. */
export const tenancyService: BackgroundService = { name: 'tenancy', periodMs: 60_000, tick }
