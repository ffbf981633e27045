import { sql, type Transaction } from 'kysely'
import type { Runtime } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { requestCancel, type CommandOutcome } from './commands.ts'
import { tellCanceled } from './ended-outside.ts'
import { endStates } from './states.ts'

/** What a cancellation came to: runs that have ended with it, and runs whose owners have been asked. */
export interface Cancellation {
  ended: string[]
  commanded: string[]
}

/**
 * Cancels a run and, level by level, the runs that its steps have started. Parents are locked before their children, which
 * are younger, so it locks in the order of ids as everybody does. Call `tellOf` after the commit.
 */
export async function cancelRunTree(
  tx: Transaction<Database>,
  runId: string,
  reason: string,
): Promise<Cancellation & { outcome: CommandOutcome }> {
  const done: Cancellation = { ended: [], commanded: [] }
  const outcome = await cancelOne(tx, runId, reason, done)
  if (outcome === 'applied' || outcome === 'left-for-owner') await cancelBelow(tx, runId, reason, done)
  return { outcome, ...done }
}

/** Cancels the runs that a run has started and that have not ended. */
export async function cancelChildren(runtime: Runtime, runId: string, reason: string): Promise<void> {
  const first = await openChildren(runtime.db, [runId])
  if (first.length === 0) return
  const done: Cancellation = { ended: [], commanded: [] }
  await runtime.db.transaction().execute((tx) => cancelBelow(tx, runId, reason, done))
  await tellOf(runtime, done)
}

/**
 * Cancels runs whose parent has ended without them: its owner died between its last checkpoint and the cancellation of its
 * children. Returns how many it found.
 */
export async function cancelOrphans(runtime: Runtime, limit: number): Promise<number> {
  const { rows } = await sql<{ id: string; parent_state: string }>`
    select c.id, p.state as parent_state from runs c join runs p on p.id = c.parent_run_id
    where c.parent_run_id is not null and c.state not in ('succeeded', 'failed', 'canceled', 'timed_out')
      and p.state in ('failed', 'canceled', 'timed_out')
    order by c.id limit ${limit}`.execute(runtime.db)
  for (const { id, parent_state } of rows) {
    const reason = `The run that started it has ${parent_state}.`
    await tellOf(runtime, await runtime.db.transaction().execute((tx) => cancelRunTree(tx, id, reason)))
  }
  return rows.length
}

/** Wakes the owners that have been asked, and tells of the runs that ended while nobody held them. */
export async function tellOf(runtime: Runtime, { ended, commanded }: Cancellation): Promise<void> {
  for (const id of commanded) runtime.wake.command(id)
  for (const id of ended) runtime.wake.events(id)
  await tellCanceled(runtime, ended)
}

async function cancelBelow(tx: Transaction<Database>, runId: string, reason: string, done: Cancellation) {
  for (let level = await openChildren(tx, [runId]); level.length > 0; level = await openChildren(tx, level))
    for (const id of level) await cancelOne(tx, id, reason, done)
}

async function cancelOne(tx: Transaction<Database>, id: string, reason: string, done: Cancellation) {
  const outcome = await requestCancel(tx, id, reason)
  if (outcome === 'applied') done.ended.push(id)
  if (outcome === 'left-for-owner') done.commanded.push(id)
  return outcome
}

async function openChildren(db: Runtime['db'] | Transaction<Database>, parents: readonly string[]): Promise<string[]> {
  const rows = await db
    .selectFrom('runs')
    .select('id')
    .where('parent_run_id', 'in', [...parents])
    .where('state', 'not in', [...endStates])
    .orderBy('id')
    .execute()
  return rows.map(({ id }) => id)
}
