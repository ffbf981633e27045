import type { Execution } from '../../../clients/typescript/src/index.ts'
import { exitCodes } from './exit-codes.ts'
import { liveProgress, lineProgress } from './progress.ts'
import { printEnd, printOutput } from './run-view.ts'
import type { Session } from './session.ts'
import { timeSpan } from './text.ts'

export const exitCodeOfRun = ({ status }: Pick<Execution, 'status'>): number =>
  status === 'succeeded' ? exitCodes.ok : exitCodes.runFailed

/** Shows a run from event `after` on until it ends; the exit code is that of the run. */
export async function followToEnd(session: Session, id: string, after = 0): Promise<number> {
  const { api, terminal } = session
  const { followExecution } = await import('../../../clients/typescript/src/index.ts')
  const progress = terminal.json
    ? { show: terminal.jsonLine, close() {} }
    : (terminal.interactive ? liveProgress : lineProgress)(terminal)
  return untilDetached(session, id, async (signal) => {
    const onReconnect = (error: Error, delayMs: number) =>
      terminal.note(`The connection is lost (${error.message}). Trying again in ${timeSpan(delayMs)}.`)
    try {
      const events = followExecution(api, id, { lastEventId: after, signal, onReconnect })
      for await (const event of events) progress.show(event)
    } finally {
      progress.close()
    }
    const { data: run } = await api.getExecution({ path: { execution: id }, signal })
    if (terminal.json) terminal.jsonLine({ type: 'ended', execution: run })
    else {
      printEnd(terminal, run)
      printOutput(terminal, run.output)
    }
    return exitCodeOfRun(run)
  })
}

/** Waits without a word and prints what the run gave. */
export async function waitForOutput(
  session: Session,
  id: string,
  outputOf: (run: Execution) => unknown,
): Promise<number> {
  const { api, terminal } = session
  const { waitForExecution } = await import('../../../clients/typescript/src/index.ts')
  return untilDetached(session, id, async (signal) => {
    const run = await waitForExecution(api, id, { signal })
    if (terminal.json) terminal.document(run)
    else if (run.status === 'succeeded') printOutput(terminal, outputOf(run))
    else terminal.error(`The run ${id} has ${run.status}${run.error ? `: ${run.error.detail}` : '.'}`)
    return exitCodeOfRun(run)
  })
}

/** The first Ctrl-C lets go of the run, which goes on without us; a second one ends the program where it stands. */
async function untilDetached(
  session: Session,
  id: string,
  work: (signal: AbortSignal) => Promise<number>,
): Promise<number> {
  const detached = new AbortController()
  const detach = () => detached.abort()
  process.once('SIGINT', detach)
  try {
    return await work(detached.signal)
  } catch (error) {
    if (!detached.signal.aborted) throw error
    session.terminal.note(`\nDetached: the run goes on.
Follow it again: automatos runs follow ${id}
Cancel it:       automatos runs cancel ${id}`)
    return exitCodes.interrupted
  } finally {
    process.removeListener('SIGINT', detach)
  }
}
