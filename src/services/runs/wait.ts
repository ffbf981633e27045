import { parseDuration } from '../../lib/duration.ts'
import { LanguageError } from '../../lib/language/scope.ts'
import { renderText } from '../../lib/language/template.ts'
import { renderTree } from '../../lib/language/tree.ts'
import type { WaitStep } from '../recipes/definition.ts'
import { asStepError, draftOf, errorView, failStep, rest, succeed, type StepResult } from './attempts.ts'
import { runEventWait } from './event-wait.ts'
import type { Flow, Frame } from './flow.ts'
import type { StepRecord } from './records.ts'
import { StepError } from './step-executor.ts'

export function runWait(
  flow: Flow,
  step: WaitStep,
  path: string,
  frame: Frame,
  record: StepRecord | undefined,
): Promise<StepResult> {
  return step.event === undefined
    ? restForStep(flow, step, path, frame, record)
    : runEventWait(flow, { ...step, event: step.event }, path, frame, record)
}

/** Parks the run for a duration, counted by the database from the moment it is stored, or until an instant. */
async function restForStep(
  flow: Flow,
  step: WaitStep,
  path: string,
  frame: Frame,
  record: StepRecord | undefined,
): Promise<StepResult> {
  let draft = draftOf(flow, step, path, frame, record)
  let restMs: number
  let wakeAt: string | null = null
  if (record?.status === 'waiting' && record.wake_at) {
    wakeAt = record.wake_at.toISOString()
    restMs = record.wake_at.getTime() - flow.nowMs()
  } else {
    draft = { ...draft, attempts: 1, startedMs: flow.runtime.clock.monotonicMs() }
    try {
      ;({ restMs, wakeAt } = whenToWake(flow, step, frame))
    } catch (error) {
      return failStep(flow, draft, errorView(asStepError(flow, error), 1))
    }
    draft = { ...draft, status: 'waiting', delay_ms: wakeAt === null ? restMs : null, wake_at: wakeAt }
    flow.write(draft)
    flow.emit('step.waiting', { path, kind: step.kind, ...(wakeAt ? { until: wakeAt } : { delay_ms: restMs }) })
  }
  if ((await rest(flow, path, restMs, frame.signal, wakeAt)) === 'parked') return { status: 'parked' }
  // No output: when it really ended differs with every resume, and what follows must not.
  return succeed(flow, { ...draft, delay_ms: null, wake_at: null }, null)
}

function whenToWake(flow: Flow, step: WaitStep, frame: Frame): { restMs: number; wakeAt: string | null } {
  const scope = flow.scope(frame)
  if (step.duration !== undefined) {
    const text = renderText(step.duration, scope)
    const ms = parseDuration(text.trim())
    if (ms === null) throw new LanguageError(`duration: "${text}" is not a duration such as 30s or 1h30m`)
    return { restMs: ms, wakeAt: null }
  }
  const until = renderTree(step.until ?? null, scope)
  const instant = typeof until === 'string' ? Date.parse(until) : NaN
  if (Number.isNaN(instant))
    throw new StepError('expression', `until: ${JSON.stringify(until)} is not an ISO time`, { retryable: false })
  return { restMs: instant - flow.nowMs(), wakeAt: new Date(instant).toISOString() }
}
