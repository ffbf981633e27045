import type { Runtime, TickReport } from '../../context.ts'
import { claim } from './claim.ts'
import { awaitQuick, InFlightByDatabase } from './in-flight.ts'
import { linesOf, type Message, type Outbox } from './outbox.ts'

type Parts = Pick<Runtime, 'db' | 'log' | 'defer'>

/**
 * One pass over an outbox: claims what is due and has it tried. Answers how many it took up; those whose receiver is slow
 * are still under way then, under their claim, and the next pass goes on beside them. `attempt` sends a message and
 * settles it; where it throws, the message comes again when its claim ends.
 */
export function createRelay<M extends Message, R extends Parts>(
  outbox: Outbox,
  attempt: (runtime: R, message: M) => Promise<void>,
): (runtime: R) => Promise<TickReport> {
  const underWay = new InFlightByDatabase()
  return async (runtime) => {
    const inFlight = underWay.of(runtime.db)
    const room = Math.min(outbox.most.pass, outbox.most.process - inFlight.total)
    if (room <= 0) return { done: 0, more: false }
    const messages = await claim<M>(runtime.db, outbox, room, inFlight.held())
    const tries = messages.map((message) =>
      inFlight.run(linesOf(outbox, message), () => seenThrough(runtime, message, () => attempt(runtime, message))),
    )
    await awaitQuick(Promise.all(tries), (work) => runtime.defer(work))
    // Whoever has used up its share in this pass may have more.
    return { done: messages.length, more: messages.length >= outbox.most.workspace }
  }

  /** One that breaks takes no other with it. The receiver may have it: it gets it once more, under the same id. */
  async function seenThrough({ log }: Parts, message: Message, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const key = Object.fromEntries(outbox.key.map((column) => [column, message[column]]))
      log.warn('The outcome of a delivery could not be stored.', { outbox: outbox.table, ...key, error })
    }
  }
}
