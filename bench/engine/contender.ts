/** A durable run of three steps that do nothing, each with its result stored; or a job of one step. */
export type Work = 'run' | 'job'

/** One of those that are compared, open in one process. */
export interface Contender {
  /** Sets that many going and resolves when the last has been started: runs one by one, jobs all at once. */
  start(work: Work, count: number): Promise<void>
  /** Resolves when the database holds all that was reported as finished; left out where that is so by then. */
  settled?(): Promise<void>
  close(): Promise<void>
}

export interface Place {
  url: string
  /** Runs or jobs under way in this process at a time. */
  inFlight: number
  /** Connections that this process may have. */
  connections: number
  /** To be called as work ends, with how much of it. */
  finished: (count: number) => void
}

/** What the bench sends to the process of a contender, which answers with its own number when it is done. */
export type Request = { number: number } & (
  | { verb: 'start'; work: Work; count: number }
  | { verb: 'settled' | 'close' }
)
export type Reply = { opened: true } | { done: number } | { failed: string } | { finished: number }

/**
 * The main program of a contender's process: `node <contender>.ts <database> <in flight> <connections>`, with a channel to its parent.
 * Messages go there and not over the standard streams, which some of the libraries write to.
 */
export async function serve(open: (place: Place) => Promise<Contender>): Promise<void> {
  const reply = (message: Reply) => process.send!(message)
  let finished = 0
  // One message for all that ends in one turn of the event loop.
  const tell = () => {
    reply({ finished })
    finished = 0
  }
  try {
    const contender = await open({
      url: process.argv[2]!,
      inFlight: Number(process.argv[3]),
      connections: Number(process.argv[4]),
      finished(count) {
        if (finished === 0) setImmediate(tell)
        finished += count
      },
    })
    process.on('message', (request: Request) => {
      carryOut(contender, request).then(() => reply({ done: request.number }), fail)
    })
    reply({ opened: true })
  } catch (error) {
    fail(error)
  }

  function fail(error: unknown) {
    reply({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
}

async function carryOut(contender: Contender, request: Request): Promise<void> {
  if (request.verb === 'start') await contender.start(request.work, request.count)
  else if (request.verb === 'settled') await contender.settled?.()
  else {
    await contender.close()
    // Timers of a library must not outlive the bench.
    setImmediate(() => process.exit())
  }
}

/** Does `once` that many times, in `lanes` at a time. */
export async function inLanes(count: number, lanes: number, once: () => Promise<unknown>): Promise<void> {
  let left = count
  await Promise.all(
    Array.from({ length: Math.min(lanes, count) }, async () => {
      while (left-- > 0) await once()
    }),
  )
}
