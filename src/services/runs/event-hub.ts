import type { Kysely } from 'kysely'
import type { Runtime } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { databaseOf } from '../../db/scope.ts'
import type { JsonObject } from '../../lib/json.ts'

export interface RunEvent {
  seq: number
  type: string
  data: JsonObject
  created_at: string
}

/** How often a followed run's log is read when nothing tells of news: what other processes write is seen this late. */
const pollMs = 500
const pageSize = 500
/** Events that a follower holds and has not passed on; one whose client reads slowly is read for no further. */
const mostHeld = 1_000

/** Types after which a run's log grows no more. */
export const endsLog = (type: string): boolean =>
  type === 'execution.succeeded' ||
  type === 'execution.failed' ||
  type === 'execution.canceled' ||
  type === 'execution.timed_out'

interface Follower {
  cursor: number
  isFull: () => boolean
  deliver: (events: RunEvent[]) => void
}

/** One reader of the log for each followed run, however many follow it in this process. */
class EventHub {
  readonly #topics = new Map<string, Topic>()

  notify(runId: string): void {
    this.#topics.get(runId)?.wake()
  }

  /** Read is with the database of whoever follows it first: of one run all see the same. */
  follow(db: Kysely<Database>, runId: string, follower: Follower): { readOn: () => void; unfollow: () => void } {
    let topic = this.#topics.get(runId)
    if (!topic) {
      topic = new Topic(db, runId)
      this.#topics.set(runId, topic)
    }
    topic.followers.add(follower)
    topic.wake()
    const unfollow = () => {
      topic.followers.delete(follower)
      if (topic.followers.size > 0) return
      topic.stop()
      if (this.#topics.get(runId) === topic) this.#topics.delete(runId)
    }
    return { readOn: () => topic.wake(), unfollow }
  }
}

class Topic {
  readonly followers = new Set<Follower>()
  readonly #db: Kysely<Database>
  readonly #runId: string
  #reading = false
  #again = false
  #stopped = false
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(db: Kysely<Database>, runId: string) {
    this.#db = db
    this.#runId = runId
  }

  wake(): void {
    this.#again = true
    if (!this.#reading) void this.#read()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  async #read(): Promise<void> {
    this.#reading = true
    clearTimeout(this.#timer)
    try {
      while (this.#again && !this.#stopped) {
        this.#again = false
        // The slowest follower sets the start; the log has no gap, so each takes on what lies behind its own cursor.
        const open = [...this.followers].filter((follower) => !follower.isFull())
        if (open.length === 0) break
        const after = Math.min(...open.map((follower) => follower.cursor))
        const events = await readEvents(this.#db, this.#runId, after)
        for (const follower of open) {
          const fresh = events.filter((event) => event.seq > follower.cursor)
          if (fresh.length === 0) continue
          follower.cursor = fresh.at(-1)!.seq
          follower.deliver(fresh)
        }
        if (events.length === pageSize) this.#again = true
      }
    } catch {
      // The database does not answer; followers wait, and the next poll tries again.
    } finally {
      this.#reading = false
      if (!this.#stopped) this.#timer = setTimeout(() => this.wake(), pollMs)
    }
  }
}

/** A page of the log behind `after`. */
export async function readEvents(db: Kysely<Database>, runId: string, after: number): Promise<RunEvent[]> {
  const rows = await db
    .selectFrom('run_events')
    .select(['seq', 'type', 'data', 'created_at'])
    .where('run_id', '=', runId)
    .where('seq', '>', after)
    .orderBy('seq')
    .limit(pageSize)
    .execute()
  return rows.map((row) => ({ ...row, created_at: row.created_at.toISOString() }))
}

const hubs = new WeakMap<object, EventHub>()

export function eventHub(runtime: Pick<Runtime, 'db'>): EventHub {
  const database = databaseOf(runtime.db)
  let hub = hubs.get(database)
  if (!hub) {
    hub = new EventHub()
    hubs.set(database, hub)
  }
  return hub
}

/**
 * A run's events behind `after`, then each as it comes, until the log ends, the signal aborts or the process shuts down:
 * then the follower goes on elsewhere, behind the last event that it has. The caller has checked the tenant.
 */
export async function* followRun(
  runtime: Pick<Runtime, 'db' | 'shutdown'>,
  runId: string,
  after: number,
  signal: AbortSignal,
): AsyncGenerator<RunEvent> {
  let held: RunEvent[] = []
  let hasEnded = false
  let wakeUp: () => void = () => {}
  const { readOn, unfollow } = eventHub(runtime).follow(runtime.db, runId, {
    cursor: after,
    isFull: () => held.length >= mostHeld,
    deliver(events) {
      held.push(...events)
      wakeUp()
    },
  })
  const onAbort = () => wakeUp()
  // Two listeners instead of one combined signal: that of the process outlives every follower and would collect them.
  const signals = runtime.shutdown ? [signal, runtime.shutdown] : [signal]
  for (const each of signals) each.addEventListener('abort', onAbort)
  const over = () => signals.some((each) => each.aborted)
  try {
    while (!over()) {
      if (held.length > 0) {
        const events = held
        held = []
        for (const event of events) {
          if (over()) return
          yield event
          // What a retry has added behind an end belongs to the log as well.
          if (endsLog(event.type)) hasEnded = true
          else if (event.type === 'execution.retried') hasEnded = false
        }
        if (hasEnded && held.length === 0) return
        if (events.length >= mostHeld) readOn()
      } else {
        await new Promise<void>((resolve) => {
          wakeUp = resolve
          // What came, or the abort, between the look at what is held and here.
          if (held.length > 0 || over()) resolve()
        })
      }
    }
  } finally {
    for (const each of signals) each.removeEventListener('abort', onAbort)
    unfollow()
  }
}
