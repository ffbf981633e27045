import type { ServiceContext } from '../../context.ts'
import { endsLog, followRun } from '../runs/event-hub.ts'
import { checkExecution } from './find.ts'

/**
 * Waits until a run has ended. False when the time is up, the caller leaves or the process shuts down: the run goes on all
 * the same. Who may not read executions is not waited for, since the end would tell what they may not know.
 */
export async function waitForEnd(
  ctx: ServiceContext,
  id: string,
  seconds: number,
  signal: AbortSignal,
): Promise<boolean> {
  if (!ctx.actor.permissions.has('executions:read')) return false
  const run = await checkExecution(ctx, id)
  if (run.finished_at !== null) return true
  const over = new AbortController()
  const end = () => over.abort()
  const timer = setTimeout(end, seconds * 1000)
  signal.addEventListener('abort', end)
  if (signal.aborted) end()
  try {
    for await (const event of followRun(ctx, id, run.last_seq, over.signal)) if (endsLog(event.type)) return true
    return false
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', end)
  }
}
