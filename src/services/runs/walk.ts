import type { Json, JsonObject } from '../../lib/json.ts'
import { evaluateExpression } from '../../lib/language/expression.ts'
import { LanguageError } from '../../lib/language/scope.ts'
import type { OnError, Step } from '../recipes/definition.ts'
import { graphOfNeeds } from '../recipes/graph.ts'
import { expired, rejected, runApproval } from './approval.ts'
import { draftOf, errorView, failStep, runAttempts, type StepResult } from './attempts.ts'
import { runBranch } from './branch.ts'
import { runChild } from './child-run.ts'
import type { Flow, Frame } from './flow.ts'
import { runForeach } from './foreach.ts'
import { hasEnded, type StepRecord } from './records.ts'
import { inStepSpan } from './run-trace.ts'
import { StepError } from './step-executor.ts'
import { runWait } from './wait.ts'
import { walkGraph } from './walk-graph.ts'

/** Jumps back and forth within one list before a run is taken for one that never ends. */
export const maxJumps = 100
export const jumpLimit = () => new StepError('goto_limit', `More than ${maxJumps} jumps in one list of steps.`)

export type ListResult =
  | { kind: 'done'; output: Json }
  | { kind: 'failed'; error: JsonObject; path: string }
  | { kind: 'parked' }

/**
 * Goes through a list of steps from its beginning. Steps whose end is stored are passed over with their stored result,
 * so a resumed run takes the same way and comes to where it stood. `prefix` is the path of the list, '' or ending in '/'.
 */
export async function walkList(flow: Flow, steps: readonly Step[], prefix: string, frame: Frame): Promise<ListResult> {
  const graph = graphOfNeeds(steps)
  if (graph) return walkGraph(flow, steps, graph, prefix, frame)
  const visits = new Map<string, number>()
  // Steps that a jump passes over are visited too: a row tells of one visit only, whichever way the run comes again.
  const visit = (step: Step): string => {
    const count = (visits.get(step.id) ?? 0) + 1
    visits.set(step.id, count)
    return count === 1 ? prefix + step.id : `${prefix}${step.id}~${count}`
  }
  let output: Json = null
  let jumps = 0
  for (let i = 0; i < steps.length;) {
    const step = steps[i]!
    const path = visit(step)
    const result = await walkStep(flow, step, path, frame)
    if (result.status === 'parked') return { kind: 'parked' }
    if (result.status === 'succeeded') output = result.output
    frame.steps[step.id] = viewOf(result)
    i++
    if (result.status !== 'failed') continue
    const next = afterFailure(step, String(result.error['kind']))
    if (next === 'continue') continue
    if (next === 'fail') return { kind: 'failed', error: result.error, path }
    if (++jumps > maxJumps) return { kind: 'failed', error: errorView(jumpLimit(), 1), path }
    const target = steps.findIndex((each) => each.id === next.goto)
    for (let skipped = i; skipped < target; skipped++) skip(flow, steps[skipped]!, visit(steps[skipped]!), frame)
    i = target
  }
  return { kind: 'done', output }
}

/** What expressions see of a step that has ended. */
export const viewOf = (result: StepResult): JsonObject => ({
  status: result.status,
  output: result.status === 'succeeded' ? result.output : null,
  error: result.status === 'failed' ? result.error : null,
})

/** What follows a step that has failed for good; a rejection and a time that went by have words of their own. */
export function afterFailure(step: Step, kind: string): OnError {
  if (kind === rejected && step.kind === 'approval' && step.on_reject) return step.on_reject
  if (kind === expired && (step.kind === 'approval' || step.kind === 'wait')) {
    const next = step.on_timeout
    if (next && next !== 'approve' && next !== 'reject') return next
  }
  return step.on_error ?? 'fail'
}

export async function walkStep(flow: Flow, step: Step, path: string, frame: Frame): Promise<StepResult> {
  const record = flow.records.get(path)
  if (record && hasEnded(record.status)) {
    // A branch's inner steps are visible behind it, so their results are collected again on the way.
    if (step.kind === 'branch' && record.status !== 'skipped') await runBranch(flow, step, path, frame, record)
    if (record.status === 'succeeded') return { status: 'succeeded', output: record.output }
    if (record.status === 'skipped') return { status: 'skipped' }
    return { status: 'failed', error: record.error ?? { kind: 'canceled', detail: 'The step was canceled.' } }
  }
  await flow.breathe()
  flow.startable(frame.signal)
  if (!record && step.when !== undefined) {
    try {
      if (evaluateExpression(step.when, flow.scope(frame)) !== true) return skip(flow, step, path, frame)
    } catch (error) {
      if (!(error instanceof LanguageError)) throw error
      const failure = new StepError('expression', `when: ${error.message}`, { retryable: false })
      return failStep(flow, draftOf(flow, step, path, frame, undefined), errorView(failure, 0))
    }
  }
  const startedMs = flow.runtime.clock.monotonicMs()
  const result = await inStepSpan(flow, step, path, frame, (inner) => {
    const enter = () => enterStep(flow, step, path, inner, record)
    return flow.standIn ? flow.standIn(step, path, inner, enter) : enter()
  })
  countStep(flow, step.kind, result.status, startedMs)
  return result
}

/** A step that parks has not ended; it is counted where it does. */
function countStep({ runtime }: Flow, kind: string, status: StepResult['status'], startedMs: number): void {
  const { measures, clock } = runtime
  if (!measures || status === 'parked') return
  measures.steps.add(1, kind, status)
  measures.stepDuration.observe((clock.monotonicMs() - startedMs) / 1000, kind)
}

function enterStep(
  flow: Flow,
  step: Step,
  path: string,
  frame: Frame,
  record: StepRecord | undefined,
): Promise<StepResult> {
  switch (step.kind) {
    case 'branch':
      return runBranch(flow, step, path, frame, record)
    case 'foreach':
      return runForeach(flow, step, path, frame, record)
    case 'wait':
      return runWait(flow, step, path, frame, record)
    case 'approval':
      return runApproval(flow, step, path, frame, record)
    case 'recipe':
      return runChild(flow, step, path, frame, record)
    default:
      return runAttempts(flow, step, path, frame, record)
  }
}

export function skip(flow: Flow, step: Step, path: string, frame: Frame): StepResult {
  const known = flow.records.get(path)
  frame.steps[step.id] = { status: 'skipped', output: null, error: null }
  if (!known) {
    const nowMs = flow.runtime.clock.monotonicMs()
    flow.write({ ...draftOf(flow, step, path, frame, undefined), status: 'skipped', finishedMs: nowMs })
    flow.emit('step.skipped', { path, kind: step.kind })
    flow.runtime.measures?.steps.add(1, step.kind, 'skipped')
  }
  return { status: 'skipped' }
}
