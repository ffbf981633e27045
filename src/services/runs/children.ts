import { sql, type Transaction } from 'kysely'
import type { Runtime } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { requestCancel, type CommandOutcome } from './commands.ts'
import { tellCanceled } from './ended-outside.ts'
import { endStates, isEnd } from './states.ts'

/** What a cancellation came to: runs that have ended with it, and runs whose owners have been asked. */
export interface Cancellation {
  ended: string[]
  commanded: string[]
}

/** Runs that one transaction cancels at most: each holds its row until the commit. */
const batch = 100

/**
 * Cancels a run and, level by level, the runs that its steps have started. Parents are locked before their children, which
 * are younger, so it locks in the order of ids as everybody does. Of many it cancels the first; the others have then lost
 * their parents, and the recovery tick takes them up. Call `tellOf` after the commit.
 */
export async function cancelRunTree(
  tx: Transaction<Database>,
  runId: string,
  reason: string,
): Promise<Cancellation & { outcome: CommandOutcome }> {
  const done: Cancellation = { ended: [], commanded: [] }
  const outcome = await cancelOne(tx, runId, reason, done)
  if (outcome === 'applied' || outcome === 'left-for-owner') await cancelFirstBelow(tx, runId, reason, done)
  return { outcome, ...done }
}

/** Cancels runs and what is below them: all of them before the first of their children, in the order of ids as ever. */
export async function cancelRunTrees(
  tx: Transaction<Database>,
  runIds: readonly string[],
  reason: string | ((runId: string) => string),
): Promise<Cancellation> {
  const done: Cancellation = { ended: [], commanded: [] }
  const why = typeof reason === 'string' ? () => reason : reason
  for (const id of runIds.toSorted()) await cancelOne(tx, id, why(id), done)
  for (const id of [...done.ended, ...done.commanded].toSorted()) await cancelFirstBelow(tx, id, why(id), done)
  return done
}

async function cancelFirstBelow(tx: Transaction<Database>, runId: string, reason: string, done: Cancellation) {
  let room = batch
  for await (const ids of openBelow(tx, runId)) {
    for (const id of ids.slice(0, room)) await cancelOne(tx, id, reason, done)
    room -= ids.length
    if (room <= 0) break
  }
}

/** Cancels in one transaction the runs that a run has started and that have not ended, all of them. Call `tellOf` after the commit. */
export async function cancelOpenChildren(
  tx: Transaction<Database>,
  runId: string,
  reason: string,
): Promise<Cancellation> {
  const done: Cancellation = { ended: [], commanded: [] }
  for await (const ids of openBelow(tx, runId)) for (const id of ids) await cancelOne(tx, id, reason, done)
  return done
}

/** Cancels what a run that has ended leaves behind, some at a time. Stops where it has been taken up again since. */
export async function cancelChildren(runtime: Runtime, runId: string, reason: string): Promise<void> {
  for await (const ids of openBelow(runtime.db, runId)) {
    const done: Cancellation = { ended: [], commanded: [] }
    const over = await runtime.db.transaction().execute(async (tx) => {
      if (!(await leavesBehind(tx, runId))) return false
      for (const id of ids) await cancelOne(tx, id, reason, done)
      return true
    })
    if (!over) return
    await tellOf(runtime, done)
  }
}

/** Whether a run has ended so that its children end too. Until the commit no retry begins. */
async function leavesBehind(tx: Transaction<Database>, runId: string): Promise<boolean> {
  const run = await tx.selectFrom('runs').select('state').where('id', '=', runId).forShare().executeTakeFirst()
  return run !== undefined && isEnd(run.state) && run.state !== 'succeeded'
}

/**
 * Cancels runs whose parent has ended without them: its owner died between its last checkpoint and the cancellation of its
 * children, or they were too many for one transaction. Returns how many have ended by it; at least `limit`: there may be more.
 */
export async function cancelOrphans(runtime: Runtime, limit: number): Promise<number> {
  const { rows } = await sql<{ id: string; parent: string; parent_state: string }>`
    select c.id, p.id as parent, p.state as parent_state from runs c join runs p on p.id = c.parent_run_id
    where c.parent_run_id is not null and c.state not in ('succeeded', 'failed', 'canceled', 'timed_out')
      and p.state in ('failed', 'canceled', 'timed_out')
    order by c.id limit ${limit}`.execute(runtime.db)
  let ended = 0
  for (const { id, parent, parent_state } of rows) {
    if (ended >= limit) break
    const reason = `The run that started it has ${parent_state}.`
    const done = await runtime.db
      .transaction()
      .execute(async (tx) => ((await leavesBehind(tx, parent)) ? cancelRunTree(tx, id, reason) : null))
    if (!done) continue
    await tellOf(runtime, done)
    ended += done.ended.length
  }
  return ended
}

/** Wakes the owners that have been asked, and tells of the runs that ended while nobody held them. */
export async function tellOf(runtime: Runtime, { ended, commanded }: Cancellation): Promise<void> {
  for (const id of commanded) runtime.wake.command(id)
  for (const id of ended) runtime.wake.events(id)
  await tellCanceled(runtime, ended)
}

async function cancelOne(tx: Transaction<Database>, id: string, reason: string, done: Cancellation) {
  const outcome = await requestCancel(tx, id, reason)
  if (outcome === 'applied') done.ended.push(id)
  if (outcome === 'left-for-owner') done.commanded.push(id)
  return outcome
}

/** Runs below a run that have not ended, level by level, some at a time. */
async function* openBelow(db: Runtime['db'] | Transaction<Database>, runId: string): AsyncGenerator<string[]> {
  let level = [runId]
  while (level.length > 0) {
    const next: string[] = []
    for (let at = 0; at < level.length; at += batch) {
      const parents = level.slice(at, at + batch)
      for (let after: string | null = null; ;) {
        const ids: string[] = await openChildren(db, parents, after)
        if (ids.length > 0) yield ids
        next.push(...ids)
        if (ids.length < batch) break
        after = ids.at(-1)!
      }
    }
    level = next
  }
}

async function openChildren(
  db: Runtime['db'] | Transaction<Database>,
  parents: readonly string[],
  after: string | null,
): Promise<string[]> {
  const rows = await db
    .selectFrom('runs')
    .select('id')
    .where('parent_run_id', 'in', [...parents])
    .where('state', 'not in', [...endStates])
    .$if(after !== null, (query) => query.where('id', '>', after!))
    .orderBy('id')
    .limit(batch)
    .execute()
  return rows.map(({ id }) => id)
}
