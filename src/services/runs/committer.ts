import type { Kysely } from 'kysely'
import type { Clock, Log } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { nextTurn } from '../../lib/next-turn.ts'
import { writeCheckpoints, type Checkpoint } from './checkpoint.ts'
import type { RunWriter } from './run-writer.ts'
import { answered, isRefused, steadily } from './steadily.ts'

/** Runs in one statement. Enough to share a commit among all that are in flight, small enough to plan and lock quickly. */
const batchSize = 200
/** How long what nobody waits for may stay in memory: text as it is written, steps that have just begun. */
const lazyMs = 200

/**
 * Group commit: while one batch is on its way, all that is added gathers for the next, at most one checkpoint a run.
 * A batch that fails is tried again member by member, so a bad value or a deadlock stays with the run that has it; the
 * others do not wait for it.
 */
export class Committer {
  readonly #db: Kysely<Database>
  readonly #clock: Clock
  readonly #log: Log
  readonly #onLeaving: () => void
  readonly #dirty = new Set<RunWriter>()
  readonly #lazy = new Set<RunWriter>()
  #lazyTimer: ReturnType<typeof setTimeout> | null = null
  #flushing = false

  /** `onLeaving`: a batch that ends leases is on its way. */
  constructor(db: Kysely<Database>, clock: Clock, log: Log, onLeaving: () => void) {
    this.#db = db
    this.#clock = clock
    this.#log = log
    this.#onLeaving = onLeaving
  }

  request = (writer: RunWriter): void => {
    this.#dirty.add(writer)
    if (this.#flushing) return
    this.#flushing = true
    void this.#flush()
  }

  requestLazily = (writer: RunWriter): void => {
    this.#lazy.add(writer)
    this.#lazyTimer ??= setTimeout(() => {
      this.#lazyTimer = null
      const writers = [...this.#lazy]
      this.#lazy.clear()
      for (const each of writers) {
        each.includeBegun()
        this.request(each)
      }
    }, lazyMs)
  }

  async #flush(): Promise<void> {
    try {
      while (this.#dirty.size > 0) {
        // Runs that go on without waiting catch up here, so that those in step with each other share every commit.
        await nextTurn()
        const members: { writer: RunWriter; checkpoint: Checkpoint }[] = []
        for (const writer of this.#dirty) {
          if (members.length === batchSize) break
          this.#dirty.delete(writer)
          this.#lazy.delete(writer)
          const checkpoint = writer.take()
          if (checkpoint) members.push({ writer, checkpoint })
        }
        if (members.length === 0) continue
        try {
          const checkpoints = members.map((member) => member.checkpoint)
          const writing = answered(writeCheckpoints(this.#db, checkpoints))
          if (checkpoints.some((checkpoint) => checkpoint.leaving !== null)) this.#onLeaving()
          const results = await writing
          for (const { writer } of members) writer.settle(results.get(writer.runId))
        } catch (error) {
          this.#log.warn('A batch of checkpoints failed; its members are written one by one.', {
            error,
            runs: members.length,
          })
          for (const member of members) void this.#alone(member)
        }
      }
    } finally {
      this.#flushing = false
    }
  }

  async #alone({ writer, checkpoint }: { writer: RunWriter; checkpoint: Checkpoint }): Promise<void> {
    try {
      const results = await steadily(writer, this.#clock, () => writeCheckpoints(this.#db, [checkpoint]))
      writer.settle(results.get(writer.runId))
    } catch (error) {
      if (isRefused(error)) writer.refuse(error)
      else {
        this.#log.error('A run could not be written within its lease and was given up.', {
          run_id: writer.runId,
          error,
        })
        writer.markLost()
      }
    }
  }
}
