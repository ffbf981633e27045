import type { Json } from '../../lib/json.ts'
import { renderTree } from '../../lib/language/tree.ts'
import { stepDefaults, type ForeachStep } from '../recipes/definition.ts'
import { asStepError, draftOf, errorView, failStep, succeed, type StepResult } from './attempts.ts'
import { notYetRun, type Flow, type Frame } from './flow.ts'
import { ItemAborted } from './interruptions.ts'
import { itemKind, type EndedItem, type StepRecord } from './records.ts'
import type { StepDraft } from './run-writer.ts'
import { asStored, isOwn, openList, rehome, spill, spillList, unspill } from './spill.ts'
import { StepError } from './step-executor.ts'
import { walkList } from './walk.ts'

/** Items that one foreach takes at most. */
export const maxItems = 10_000

/** Items that may have ended and not be stored yet: steps without effects end faster than a database writes. */
const mostUnstored = 64

/** What a foreach goes through. A long list is read page by page, as its items are taken. */
interface Items {
  count: number
  item(position: number): Json | Promise<Json>
}

/**
 * Runs its steps for each item, some side by side. The list is evaluated once and stored; each item has a row, whose
 * output is the output of the item's last step. The foreach's own output is read from those rows, in order. Neither list
 * is ever held as a whole, unless it is small.
 */
export async function runForeach(
  flow: Flow,
  step: ForeachStep,
  path: string,
  frame: Frame,
  record: StepRecord | undefined,
): Promise<StepResult> {
  const failFast = (step.on_item_error ?? stepDefaults.foreach.on_item_error) === 'fail_fast'
  let draft = draftOf(flow, step, path, frame, record)
  let items: Items
  let ended: ReadonlyMap<number, EndedItem> = new Map()
  try {
    let stored = record?.state?.['items']
    if (stored === undefined) {
      draft = { ...draft, attempts: 1, startedMs: flow.runtime.clock.monotonicMs() }
      stored = await storeItems(flow, path, renderTree(step.items, flow.scope(frame)))
      items = await openItems(flow, stored)
      draft = { ...draft, status: 'running', state: { items: stored } }
      flow.write(draft)
      flow.emit('step.started', { path, kind: step.kind, attempt: 1, items: items.count })
    } else {
      items = await openItems(flow, stored)
      ended = await flow.endedItems(path, failFast)
    }
  } catch (error) {
    return failStep(flow, draft, errorView(asStepError(flow, error), 1))
  }

  const siblings = new AbortController()
  const signal = AbortSignal.any([frame.signal, siblings.signal])
  const keepUp = backPressure(flow)
  let next = 0
  let failed = 0
  let parked = false
  let failure: Extract<StepResult, { status: 'failed' }> | null = null
  const giveUp = (error: Extract<StepResult, { status: 'failed' }>['error']) => {
    failure ??= { status: 'failed', error }
    siblings.abort(new ItemAborted())
  }

  const worker = async () => {
    while (!parked && failure === null) {
      const index = next++
      if (index >= items.count) return
      let result: EndedItem | undefined = ended.get(index)
      if (!result) {
        let item: Json
        try {
          item = await items.item(index)
        } catch (error) {
          return giveUp(errorView(asStepError(flow, error), 1))
        }
        try {
          const itemPath = `${path}/${index}`
          const known = flow.records.get(itemPath)
          const end = await runItem(flow, step, itemPath, index, item, { ...frame, signal }, known)
          if (end.status === 'parked') {
            parked = true
            return
          }
          result = { succeeded: end.status === 'succeeded', error: end.status === 'failed' ? end.error : null }
        } catch (interruption) {
          // What cuts off the whole loop passes through.
          if (interruption === siblings.signal.reason) return
          throw interruption
        }
        await keepUp()
      }
      if (result.succeeded) continue
      failed++
      if (failFast) giveUp({ ...(result.error ?? { kind: 'canceled', detail: 'An item was canceled.' }), item: index })
    }
  }
  const concurrency = Math.min(step.concurrency ?? stepDefaults.foreach.concurrency, items.count)
  await flow.resting.sideBySide(Array.from({ length: concurrency }, () => worker))

  if (failure !== null) {
    flow.closeOpenSteps('canceled', `${path}/`)
    return failStep(flow, draft, (failure as Extract<StepResult, { status: 'failed' }>).error)
  }
  if (parked) return { status: 'parked' }
  try {
    const { blobs } = flow.runtime
    const output = await spillList(blobs, flow.run.workspace_id, flow.run.id, flow.itemOutputs(path, items.count))
    return await succeed(flow, draft, output, failed > 0 ? { failed_items: failed } : {})
  } catch (error) {
    return failStep(flow, draft, errorView(asStepError(flow, error), 1))
  }
}

/** Stores what `items` came to: a list, or the handle of one that is the run's own. */
async function storeItems(flow: Flow, path: string, value: Json): Promise<Json> {
  const { blobs } = flow.runtime
  const { workspace_id: workspaceId, id: runId } = flow.run
  const list = await openList(blobs, workspaceId, value)
  if (!list) {
    const items = listOf(asStored(await unspill(blobs, workspaceId, value)))
    checkCount(items.length)
    return spill(blobs, workspaceId, runId, items.slice(0, flow.itemsTaken(path, items.length)))
  }
  checkCount(list.count)
  const taken = flow.itemsTaken(path, list.count)
  if (taken < list.count) {
    const first = async function* () {
      for (let position = 0; position < taken; position++) yield list.item(position)
    }
    return spillList(blobs, workspaceId, runId, first())
  }
  // The list of another run, such as `previous.output`, may go before this one ends.
  return isOwn(workspaceId, runId, value) ? value : rehome(blobs, workspaceId, runId, value)
}

async function openItems(flow: Flow, stored: Json): Promise<Items> {
  const { blobs } = flow.runtime
  const list = await openList(blobs, flow.run.workspace_id, stored)
  if (list) return list
  const items = listOf(await unspill(blobs, flow.run.workspace_id, stored))
  return { count: items.length, item: (position) => items[position]! }
}

/** Waits, once many items have ended, until they are stored: what waits for its checkpoint is held in memory. */
function backPressure(flow: Flow): () => Promise<void> {
  let unstored = 0
  let storing: Promise<void> | null = null
  return async () => {
    if (++unstored >= mostUnstored) {
      unstored = 0
      storing = flow.writer.commit()
    }
    if (storing) await storing
  }
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
  if (Array.isArray(value)) return value
  throw new StepError('expression', `items is not a list but ${value === null ? 'null' : typeof value}.`, {
    retryable: false,
  })
}

function checkCount(count: number): void {
  if (count > maxItems)
    throw new StepError('too_many_items', `items has ${count} entries; at most ${maxItems} are allowed.`, {
      retryable: false,
    })
}
