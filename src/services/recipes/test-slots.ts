import type { ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'

const mostAtOnce = 10
const mostOfOneWorkspace = 2
const retryAfterSeconds = 5

/** The step tests under way in this process. */
const underWay = new Set<{ workspaceId: string; endMs: number }>()

/**
 * Step tests run where requests are answered, beside the bounds of the engine, so few run at a time. Throws `rate-limited`
 * where there are enough. `longestMs`: after it a slot is free again, as Workers drop a request that nobody waits for
 * without a word.
 */
export async function inTestSlot<T>(
  { clock, actor: { workspaceId } }: Pick<ServiceContext, 'clock' | 'actor'>,
  longestMs: number,
  work: () => Promise<T>,
): Promise<T> {
  const nowMs = clock.monotonicMs()
  for (const slot of underWay) if (slot.endMs <= nowMs) underWay.delete(slot)
  const mine = [...underWay].filter((slot) => slot.workspaceId === workspaceId).length
  if (mine >= mostOfOneWorkspace)
    throw full(`${mostOfOneWorkspace} steps of the workspace are being tried, which is the most at a time.`)
  if (underWay.size >= mostAtOnce) throw full('Too many steps are being tried at the moment.')
  const slot = { workspaceId, endMs: nowMs + longestMs }
  underWay.add(slot)
  try {
    return await work()
  } finally {
    underWay.delete(slot)
  }
}

const full = (detail: string) =>
  new AppError('rate-limited', `${detail} Try again in ${retryAfterSeconds} s.`, {
    headers: { 'retry-after': String(retryAfterSeconds) },
  })
