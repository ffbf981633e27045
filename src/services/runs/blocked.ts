import type { JsonObject } from '../../lib/json.ts'
import type { Flow } from './flow.ts'
import type { StepRecord } from './records.ts'
import type { Verdict } from './resting.ts'
import type { StepDraft } from './run-writer.ts'
import type { StepBlocked } from './step-executor.ts'

/** Between two looks at what is reserved by calls under way: they last seconds or minutes. */
const firstLookMs = 50
const longestLookMs = 30_000
/**
 * Before the turn of its window a budget may be raised, and who raises it tells those whose rows say that they wait. What it
 * could not see yet looks by itself after this; each time that was in vain twice as late.
 */
const firstLongRestMs = 300_000
/** Up to this the run stays where it is, and nothing of it is written. */
const shortMs = 1_000

/** How often a step has looked before, as its row tells: who has looked in vain for long looks seldom. */
export const looksOf = (record: Pick<StepRecord, 'error'> | undefined): number =>
  Number((record && isBlocked(record) && record.error?.['looks']) || 0)

/** Told from a step that is to be tried again by the budget that its row names. */
export const isBlocked = ({ error }: Pick<StepRecord, 'error'>): boolean => typeof error?.['budget_id'] === 'string'

/**
 * Waits until a budget has room again: for its window's turn, or for what others have reserved in it. No attempt is used up.
 * `seen` is `resting.budgetNudges` from before the look that found no room.
 */
export function restForBudget(
  flow: Flow,
  draft: StepDraft,
  blocked: StepBlocked,
  looks: number,
  seen: number,
  signal: AbortSignal,
): Promise<Verdict> {
  const { path, kind, attempts } = draft
  const { budgetId, until } = blocked
  const longest = Math.min(longestLookMs, firstLookMs * 2 ** Math.min(looks, 20))
  // Each at its own time, or all that wait for one call would come at once.
  const spread = 0.5 + Math.random() / 2
  const restMs = until ? Math.max(firstLookMs, until.getTime() - flow.nowMs()) : longest * spread
  const ms = Math.min(restMs, firstLongRestMs * 2 ** Math.min(looks, 20) * spread)
  const wakeAt = until?.toISOString() ?? null
  if (until || ms > shortMs) {
    const error: JsonObject = {
      kind: blocked.kind,
      detail: blocked.message,
      status: null,
      attempts,
      budget_id: budgetId,
      looks: looks + 1,
    }
    flow.write({ ...draft, status: 'waiting', error, delay_ms: wakeAt === null ? ms : null, wake_at: wakeAt })
    flow.emit('step.waiting', { path, kind, reason: 'budget', budget_id: budgetId, ...(wakeAt && { until: wakeAt }) })
  }
  // A call of the same run tells when it has given back what it reserved, and who changes the budget tells all.
  return flow.resting.restUntilNudged(path, ms, ms < restMs ? null : wakeAt, signal, seen, 'budget')
}
