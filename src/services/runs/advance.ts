import { asStepError, errorView } from './attempts.ts'
import type { JsonObject } from '../../lib/json.ts'
import { renderTree } from '../../lib/language/tree.ts'
import type { Leaving } from './checkpoint.ts'
import type { Flow } from './flow.ts'
import { RunCanceled, RunReleased, RunTimedOut } from './interruptions.ts'
import { reportFailure } from './on-failure.ts'
import { RunLost } from './run-writer.ts'
import { spill } from './spill.ts'
import { walkList } from './walk.ts'

const ended: ReadonlySet<string> = new Set(['succeeded', 'failed', 'canceled', 'timed_out'])

/**
 * Advances a claimed run until it ends, parks, is handed back or is lost. Whatever happens, its rows say where it stands.
 * `readCommands` applies what waits in the inbox; it aborts the flow where that is what a command asks.
 */
export async function advance(flow: Flow, readCommands: () => Promise<void>): Promise<void> {
  const timer = startDeadline(flow)
  begin(flow)
  try {
    for (;;) {
      if (flow.writer.pendingCommands > 0) await flow.read(readCommands)
      if (await advanceOnce(flow)) return
      // It wanted to park while a command waited: the run stayed here, so the command is read first.
    }
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
  const isFinal = ended.has(outcome)
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

async function endInterrupted(flow: Flow, error: unknown): Promise<boolean> {
  if (error instanceof RunLost) throw error
  flow.reopenDropped()
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
