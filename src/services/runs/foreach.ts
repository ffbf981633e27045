import type { Json } from '../../lib/json.ts'
import { renderTree } from '../../lib/language/tree.ts'
import { stepDefaults, type ForeachStep } from '../recipes/definition.ts'
import { asStepError, draftOf, errorView, failStep, succeed, type StepResult } from './attempts.ts'
import { notYetRun, type Flow, type Frame } from './flow.ts'
import { ItemAborted } from './interruptions.ts'
import { hasEnded, itemKind, type StepRecord } from './records.ts'
import type { StepDraft } from './run-writer.ts'
import { asStored, spill, unspill } from './spill.ts'
import { StepError } from './step-executor.ts'
import { walkList } from './walk.ts'

/** Items that one foreach takes at most. */
export const maxItems = 10_000

/**
 * Runs its steps for each item, some side by side. The list is evaluated once and stored; each item has a row, whose
 * output is the output of the item's last step. The foreach's own output is read from those rows, in order.
 */
export async function runForeach(
  flow: Flow,
  step: ForeachStep,
  path: string,
  frame: Frame,
  record: StepRecord | undefined,
): Promise<StepResult> {
  let draft = draftOf(flow, step, path, frame, record)
  let items: Json[]
  try {
    const stored = record?.state?.['items']
    if (stored === undefined) {
      draft = { ...draft, attempts: 1, startedMs: flow.runtime.clock.monotonicMs() }
      const value = await unspill(flow.runtime.blobs, flow.run.workspace_id, renderTree(step.items, flow.scope(frame)))
      items = flow.itemsTaken(path, listOf(asStored(value)))
      const handle = await spill(flow.runtime.blobs, flow.run.workspace_id, flow.run.id, items)
      draft = { ...draft, status: 'running', state: { items: handle } }
      flow.write(draft)
      flow.emit('step.started', { path, kind: step.kind, attempt: 1, items: items.length })
    } else items = listOf(await unspill(flow.runtime.blobs, flow.run.workspace_id, stored))
  } catch (error) {
    return failStep(flow, draft, errorView(asStepError(flow, error), 1))
  }

  const failFast = (step.on_item_error ?? stepDefaults.foreach.on_item_error) === 'fail_fast'
  const siblings = new AbortController()
  const signal = AbortSignal.any([frame.signal, siblings.signal])
  let next = 0
  let parked = false
  let failure: StepResult | null = null

  const worker = async () => {
    while (!parked && failure === null) {
      const index = next++
      if (index >= items.length) return
      const itemPath = `${path}/${index}`
      const known = flow.records.get(itemPath)
      let status = known?.status
      let error = known?.error ?? null
      if (!known || !hasEnded(known.status)) {
        try {
          const result = await runItem(flow, step, itemPath, index, items[index]!, { ...frame, signal }, known)
          if (result.status === 'parked') {
            parked = true
            return
          }
          status = result.status
          error = result.status === 'failed' ? result.error : null
        } catch (interruption) {
          if (interruption instanceof ItemAborted) return
          throw interruption
        }
      }
      if (status !== 'succeeded' && failFast) {
        failure = {
          status: 'failed',
          error: { ...(error ?? { kind: 'canceled', detail: 'An item was canceled.' }), item: index },
        }
        siblings.abort(new ItemAborted())
      }
    }
  }
  const concurrency = Math.min(step.concurrency ?? stepDefaults.foreach.concurrency, items.length)
  await flow.resting.sideBySide(Array.from({ length: concurrency }, () => worker))

  if (failure !== null) {
    flow.closeOpenSteps('canceled', `${path}/`)
    return failStep(flow, draft, (failure as Extract<StepResult, { status: 'failed' }>).error)
  }
  if (parked) return { status: 'parked' }
  return succeed(flow, draft, await flow.itemOutputs(path))
}

async function runItem(
  flow: Flow,
  step: ForeachStep,
  path: string,
  index: number,
  item: Json,
  frame: Frame,
  known: StepRecord | undefined,
): Promise<StepResult> {
  const clock = flow.runtime.clock
  const draft: StepDraft = {
    path,
    parent: frame.parent,
    ordinal: index,
    step_id: step.id,
    kind: itemKind,
    status: 'running',
    attempts: 1,
    output: null,
    error: null,
    state: null,
    delay_ms: null,
    wake_at: null,
    startedMs: known ? null : clock.monotonicMs(),
    finishedMs: null,
  }
  flow.startable(frame.signal)
  flow.write(draft)
  const inner: Frame = {
    parent: path,
    steps: { ...frame.steps, ...notYetRun(step.steps) },
    variables: { ...frame.variables, [step.as]: item },
    signal: frame.signal,
    trace: frame.trace,
  }
  const result = await walkList(flow, step.steps, `${path}/`, inner)
  if (result.kind === 'parked') return { status: 'parked' }
  const finished = { ...draft, finishedMs: clock.monotonicMs() }
  if (result.kind === 'failed') {
    const error = { ...result.error, step: result.path }
    flow.write({ ...finished, status: 'failed', error })
    return { status: 'failed', error }
  }
  flow.write({ ...finished, status: 'succeeded', output: result.output })
  return { status: 'succeeded', output: result.output }
}

function listOf(value: Json): Json[] {
  if (!Array.isArray(value))
    throw new StepError('expression', `items is not a list but ${value === null ? 'null' : typeof value}.`, {
      retryable: false,
    })
  if (value.length > maxItems)
    throw new StepError('too_many_items', `items has ${value.length} entries; at most ${maxItems} are allowed.`, {
      retryable: false,
    })
  return value
}
