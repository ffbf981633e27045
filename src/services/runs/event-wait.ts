import { parseDuration } from '../../lib/duration.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { renderTree } from '../../lib/language/tree.ts'
import type { WaitStep } from '../recipes/definition.ts'
import { conditionOf, lookAtWait, registerWait, takeKeptEvent, type Condition, type WaitKey } from '../signals/waits.ts'
import { expired } from './approval.ts'
import { asStepError, draftOf, errorView, failStep, succeed, type StepResult } from './attempts.ts'
import { awaitOutside, type Look } from './await-outside.ts'
import type { Flow, Frame } from './flow.ts'
import type { StepRecord } from './records.ts'
import { RunLost } from './run-writer.ts'
import { StepError } from './step-executor.ts'

/** Parks the run until an event has come, also one that came before; its payload is the output. */
export async function runEventWait(
  flow: Flow,
  step: WaitStep & { event: string },
  path: string,
  frame: Frame,
  record: StepRecord | undefined,
): Promise<StepResult> {
  let draft = draftOf(flow, step, path, frame, record)
  const isNew = record?.status !== 'waiting'
  if (isNew) draft = { ...draft, attempts: 1, startedMs: flow.runtime.clock.monotonicMs() }
  let wanted: { name: string; match: JsonObject | null; condition: Condition | null }
  try {
    wanted = { name: step.event, ...matchOf(flow, step, frame) }
  } catch (error) {
    return failStep(flow, draft, errorView(asStepError(flow, error), 1))
  }
  const { db } = flow.runtime
  const key: WaitKey = { run_id: flow.run.id, path, generation: flow.run.generation }
  const timeoutMs = step.timeout === undefined ? null : parseDuration(step.timeout)
  // What is matched was worked out from results: they are stored before anybody acts on it.
  await flow.readyForEffect(frame.signal)
  await flow.read(() => registerWait(db, { key, fence: flow.run.fence, timeoutMs, ...wanted }))

  let shown = !isNew
  let lookedAtKept = false
  const look = async (): Promise<Look<{ payload: Json } | null>> => {
    if (!lookedAtKept) lookedAtKept = (await takeKeptEvent(db, key, wanted)) !== 'more'
    const seen = await lookAtWait(db, key)
    if (!seen) {
      flow.writer.markLost()
      throw new RunLost()
    }
    if (seen.state === 'delivered') return { found: { payload: seen.payload } }
    if (seen.state === 'expired') return { found: null }
    draft = { ...draft, status: 'waiting', wake_at: seen.expires_at?.toISOString() ?? null }
    if (!shown) {
      flow.write(draft)
      const until: JsonObject = draft.wake_at === null ? {} : { until: draft.wake_at }
      flow.emit('step.waiting', { path, kind: step.kind, event: step.event, ...until })
      shown = true
    }
    return { until: lookedAtKept ? seen.expires_at : new Date(flow.nowMs()) }
  }
  const result = await awaitOutside(flow, path, frame.signal, look)
  if (result === 'parked') return { status: 'parked' }
  draft = { ...draft, wake_at: null }
  if (result.found) return succeed(flow, draft, result.found.payload)
  const error = new StepError(expired, `No event '${step.event}' came within ${step.timeout}.`, { retryable: false })
  return failStep(flow, draft, errorView(error, 1))
}

function matchOf(
  flow: Flow,
  { match }: WaitStep,
  frame: Frame,
): { match: JsonObject | null; condition: Condition | null } {
  if (match === undefined) return { match: null, condition: null }
  const scope = flow.scope(frame)
  if (typeof match['$expr'] === 'string') return { match: null, condition: conditionOf(match['$expr'], scope) }
  const rendered = renderTree(match, scope)
  if (!isObject(rendered)) throw new StepError('expression', 'match is not an object.', { retryable: false })
  return { match: rendered, condition: null }
}
