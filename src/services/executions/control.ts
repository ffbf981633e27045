import type { Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { onceMore } from '../../db/once-more.ts'
import { AppError } from '../../lib/errors.ts'
import type { Json } from '../../lib/json.ts'
import { recordAudit } from '../audit/record.ts'
import { cancelRunTree, tellOf } from '../runs/children.ts'
import { requestPause, requestResume } from '../runs/pause.ts'
import { replayRun } from '../runs/replay-run.ts'
import { requestRetry } from '../runs/retry.ts'
import { checkedId, checkExecution } from './find.ts'

/** In the transaction of the act, behind everything that it locks. */
const audited = (tx: Transaction<Database>, ctx: ServiceContext, action: string, id: string, after?: object) =>
  recordAudit(tx, ctx, { action, target: { type: 'execution', id }, ...(after && { after }) })

/**
 * Asks for an end: at once where nobody holds the run, within about a second where a worker does; so for the runs that its
 * steps have started.
 */
export async function cancelRun(ctx: ServiceContext, id: string, reason: string): Promise<void> {
  await checkExecution(ctx, id)
  const canceled = await inTransaction(ctx, async (tx) => {
    const cancellation = await cancelRunTree(tx, id, reason)
    const isAct = cancellation.ended.length + cancellation.commanded.length > 0
    if (isAct) await audited(tx, ctx, 'execution.canceled', id, { reason })
    return cancellation
  })
  await tellOf(ctx, canceled)
}

const inTransaction = <T>(ctx: ServiceContext, act: (tx: Transaction<Database>) => Promise<T>): Promise<T> =>
  onceMore(() => ctx.db.transaction().execute(act))

/** Throws `conflict` for what has ended. */
export async function pauseRun(ctx: ServiceContext, id: string, reason: string | null): Promise<void> {
  await checkExecution(ctx, id)
  const outcome = await inTransaction(ctx, async (tx) => {
    const paused = await requestPause(tx, id, reason)
    if (paused !== 'refused') await audited(tx, ctx, 'execution.paused', id, { reason })
    return paused
  })
  if (outcome === 'refused')
    throw new AppError('conflict', `Execution ${id} has ended, or is about to: nothing of it can wait.`)
  if (outcome === 'left-for-owner') ctx.wake.command(id)
  if (outcome === 'applied') ctx.wake.events(id)
}

/** Throws `conflict` for what is not paused and is not about to be. */
export async function resumeRun(ctx: ServiceContext, id: string): Promise<void> {
  await checkExecution(ctx, id)
  const outcome = await inTransaction(ctx, async (tx) => {
    const resumed = await requestResume(tx, id)
    if (resumed !== 'refused') await audited(tx, ctx, 'execution.resumed', id)
    return resumed
  })
  if (outcome === 'refused') throw new AppError('conflict', `Execution ${id} is not paused.`)
  if (outcome === 'left-for-owner') ctx.wake.command(id)
  if (outcome === 'applied') ctx.wake.runReady(id)
}

/** Throws `conflict` for what did not fail. */
export async function retryRun(ctx: ServiceContext, id: string): Promise<void> {
  await checkExecution(ctx, id)
  const outcome = await inTransaction(ctx, async (tx) => {
    const retried = await requestRetry(tx, id)
    if (retried.kind === 'retried') await audited(tx, ctx, 'execution.retried', id, { generation: retried.generation })
    return retried
  })
  if (outcome.kind === 'refused') {
    const hint = outcome.state === 'canceled' || outcome.state === 'succeeded' ? ' Replay it to run it once more.' : ''
    throw new AppError(
      'conflict',
      `Execution ${id} is ${outcome.state}; only one that failed or ran out of time is retried.${hint}`,
    )
  }
  if (outcome.kind === 'child')
    throw new AppError('conflict', `Execution ${id} is a step of execution ${outcome.parent}: retry that one.`)
  if (outcome.kind === 'retried') await tellOf(ctx, outcome.below)
  ctx.wake.events(id)
  ctx.wake.runReady(id)
}

/** A new run of what an ended one did, from one of its steps on. */
export async function replayExecution(
  ctx: ServiceContext,
  request: { id: string; from?: string; version?: number; input?: Json; idempotencyKey?: string },
) {
  const { id, ...rest } = request
  const { id: made, ...run } = await replayRun(ctx, { runId: checkedId(id), ...rest })
  return { id: made, execution_id: made, ...run }
}
