import { asStepError, errorView } from './attempts.ts'
import type { JsonObject } from '../../lib/json.ts'
import { renderTree } from '../../lib/language/tree.ts'
import type { Leaving } from './checkpoint.ts'
import { tellParents } from './child-ends.ts'
import { cancelChildren } from './children.ts'
import type { Flow } from './flow.ts'
import { RunCanceled, RunPaused, RunReleased, RunTimedOut } from './interruptions.ts'
import { reportFailure } from './on-failure.ts'
import { RunLost } from './run-writer.ts'
import { spill } from './spill.ts'
import { isEnd } from './states.ts'
import { answered } from './steadily.ts'
import { walkList } from './walk.ts'

/**
 * Advances a claimed run until it ends, parks, is handed back or is lost. Whatever happens, its rows say where it stands.
 * `readCommands` applies what waits in the inbox; it aborts the flow where that is what a command asks.
 */
export async function advance(flow: Flow, readCommands: () => Promise<void>): Promise<void> {
  const timer = startDeadline(flow)
  begin(flow)
  try {
    for (let turn = 1; ; turn++) {
      if (flow.writer.pendingCommands > 0) await flow.read(readCommands)
      if (turn > 1 && !flow.canceled && !flow.pausing) await flow.reload()
      if (await advanceOnce(flow)) break
      // It wanted to park while a command waited: the run stayed here, so the command is read first.
    }
    await leaveNoChildren(flow)
    await tellParent(flow)
  } catch (error) {
    if (error instanceof RunLost) {
      flow.ctx.log.info('The run was taken over by another worker.')
      return
    }
    throw error
  } finally {
    clearTimeout(timer)
    finish(flow)
  }
}

function begin({ run, runtime: { measures } }: Flow): void {
  if (!measures) return
  measures.runsInFlight.value++
  if (run.first) measures.runsStarted.add(1, String(run.trigger['kind'] ?? 'unknown'))
}

function finish(flow: Flow): void {
  const { run, slice, writer } = flow
  const { measures } = flow.runtime
  const outcome = writer.lost ? 'lost' : writer.state
  const isFinal = outcome !== 'lost' && isEnd(outcome)
  slice?.end(outcome, isFinal)
  if (!measures) return
  measures.runsInFlight.value--
  if (outcome === 'lost') measures.leasesLost.add(1)
  if (!isFinal) return
  measures.runsFinished.add(1, outcome)
  measures.runDuration.observe(Math.max(0, flow.nowMs() - run.started_at.getTime()) / 1000, outcome)
}

async function advanceOnce(flow: Flow): Promise<boolean> {
  const { writer } = flow
  try {
    flow.root.signal.throwIfAborted()
    // A worker may have held the run and never written a word of it.
    flow.emit(writer.rev === 0 ? 'execution.started' : 'execution.resumed', {})
    if (flow.pausing) throw new RunPaused()
    const result = await walkList(flow, flow.definition.steps, '', flow.root)
    if (result.kind === 'parked') {
      flow.emit('execution.waiting', { steps: flow.resting.wakes.map((wake) => wake.path) })
      return await writer.leave({ state: 'waiting' }, flow.resting.wakes)
    }
    if (result.kind === 'failed') return await fail(flow, 'failed', { ...result.error, step: result.path })
    let output = result.output
    if (flow.definition.output !== undefined) {
      try {
        output = renderTree(flow.definition.output, flow.scope(flow.root))
      } catch (error) {
        return await fail(flow, 'failed', errorView(asStepError(flow, error), 1))
      }
    }
    const stored = await spill(flow.runtime.blobs, flow.run.workspace_id, flow.run.id, output)
    flow.emit('execution.succeeded', {})
    return await writer.leave({ state: 'succeeded', output: stored, error: null })
  } catch (error) {
    return await endInterrupted(flow, error)
  }
}

async function endInterrupted(flow: Flow, thrown: unknown): Promise<boolean> {
  if (thrown instanceof RunLost) throw thrown
  flow.reopenDropped()
  const error = flow.canceled ?? thrown
  if (error instanceof RunPaused || (error instanceof RunReleased && flow.pausing)) return pause(flow)
  if (error instanceof RunReleased) {
    flow.closeOpenSteps('pending')
    flow.emit('execution.released', {})
    return flow.writer.leave({ state: 'queued' })
  }
  flow.closeOpenSteps('canceled')
  if (error instanceof RunCanceled) {
    const ending: Leaving = { state: 'canceled', output: null, error: { kind: 'canceled', detail: error.reason } }
    flow.emit('execution.canceled', { reason: error.reason })
    return flow.writer.leave(ending)
  }
  if (error instanceof RunTimedOut) {
    return fail(flow, 'timed_out', { kind: 'timeout', detail: error.message })
  }
  // A bug of ours, or a value that the database refused. The run must not hang in `running` for it.
  flow.ctx.log.error('A run failed unexpectedly.', { error })
  return fail(flow, 'failed', { kind: 'internal', detail: 'The run failed unexpectedly.' })
}

/** The command is taken up with the checkpoint that pauses the run: until then a successor of this owner must find it. */
async function pause(flow: Flow): Promise<boolean> {
  flow.closeOpenSteps('pending')
  const { pausing } = flow
  flow.emit('execution.paused', { reason: pausing?.reason ?? null })
  if (pausing && !flow.appliedCommands.has(pausing.id)) {
    flow.appliedCommands.add(pausing.id)
    flow.writer.applied(pausing.id)
  }
  return flow.writer.leave({ state: 'paused' })
}

/** Runs that its steps have started do not outlive it. Whoever dies before this leaves them to the recovery tick. */
async function leaveNoChildren({ run, runtime, writer, ctx }: Flow): Promise<void> {
  const { state } = writer
  if (!isEnd(state) || state === 'succeeded') return
  try {
    await cancelChildren(runtime, run.id, `The run that started it has ${state}.`)
  } catch (error) {
    ctx.log.warn('The runs that a run had started could not be canceled yet.', { error })
  }
}

/** The end is noted with the checkpoint that brought it about; this only makes the parent's waking sooner than the tick. */
async function tellParent({ run, runtime, writer, ctx }: Flow): Promise<void> {
  if (run.trigger['kind'] !== 'recipe' || !isEnd(writer.state)) return
  try {
    await answered(tellParents(runtime, { child: run.id }))
  } catch (error) {
    ctx.log.warn('The run that started this one could not be told of its end yet.', { error })
  }
}

async function fail(flow: Flow, state: 'failed' | 'timed_out', error: JsonObject): Promise<boolean> {
  flow.slice?.failed(String(error['kind']))
  await reportFailure(flow, state, error)
  flow.emit(`execution.${state}`, { error })
  return flow.writer.leave({ state, output: null, error })
}

function startDeadline(flow: Flow): ReturnType<typeof setTimeout> | undefined {
  const { deadline_at } = flow.run
  if (!deadline_at) return undefined
  const leftMs = deadline_at.getTime() - flow.nowMs()
  if (leftMs <= 0) flow.abort.abort(new RunTimedOut())
  return setTimeout(() => flow.abort.abort(new RunTimedOut()), Math.min(Math.max(0, leftMs), 2 ** 31 - 1))
}
