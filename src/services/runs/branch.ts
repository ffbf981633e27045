import { evaluateExpression } from '../../lib/language/expression.ts'
import type { BranchStep, Step } from '../recipes/definition.ts'
import { asStepError, draftOf, errorView, failStep, succeed, type StepResult } from './attempts.ts'
import type { Flow, Frame } from './flow.ts'
import { notYetRun } from './flow.ts'
import { hasEnded, type StepRecord } from './records.ts'
import { walkList } from './walk.ts'

/** Takes the first case that holds. The choice is stored before its first step, so a resume takes the same way. */
export async function runBranch(
  flow: Flow,
  step: BranchStep,
  path: string,
  frame: Frame,
  record: StepRecord | undefined,
): Promise<StepResult> {
  let draft = draftOf(flow, step, path, frame, record)
  const ended = record !== undefined && hasEnded(record.status)
  let choice = record?.state?.['case'] as number | 'default' | 'none' | undefined
  if (choice === undefined) {
    if (ended) return { status: 'skipped' }
    draft.startedMs = flow.runtime.clock.monotonicMs()
    draft = { ...draft, attempts: 1 }
    try {
      const scope = flow.scope(frame)
      const index = step.cases.findIndex((each) => evaluateExpression(each.when, scope) === true)
      choice = index >= 0 ? index : step.default ? 'default' : 'none'
    } catch (error) {
      return failStep(flow, draft, errorView(asStepError(flow, error), 1))
    }
    draft = { ...draft, status: 'running', state: { case: choice } }
    flow.write(draft)
    flow.emit('step.started', { path, kind: step.kind, attempt: 1, case: choice })
  }
  const lists: [number | 'default', Step[]][] = step.cases.map((each, index) => [index, each.steps])
  if (step.default) lists.push(['default', step.default])
  for (const [name, list] of lists) {
    if (name !== choice)
      for (const id of Object.keys(notYetRun(list))) frame.steps[id] = { status: 'skipped', output: null, error: null }
  }
  const taken = lists.find(([name]) => name === choice)
  if (!taken) return ended ? { status: 'succeeded', output: null } : succeed(flow, draft, null)
  const result = await walkList(flow, taken[1], `${path}/${choice}/`, frame)
  if (result.kind === 'parked') return { status: 'parked' }
  if (ended) return { status: 'succeeded', output: record.output }
  if (result.kind === 'failed') return failStep(flow, draft, { ...result.error, step: result.path })
  return succeed(flow, draft, result.output)
}
