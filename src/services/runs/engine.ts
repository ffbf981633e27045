import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import type { Json } from '../../lib/json.ts'
import { nextTurn } from '../../lib/next-turn.ts'
import { notedBlobs } from '../files/run-blobs.ts'
import { stepExecutors } from '../steps/index.ts'
import { advance } from './advance.ts'
import { claimRuns, maxRecoveries, renewLeases, type ClaimedRun } from './claim.ts'
import { Committer } from './committer.ts'
import { passSlots } from './concurrency/slots.ts'
import { eventHub } from './event-hub.ts'
import { Flow } from './flow.ts'
import { readInbox } from './inbox.ts'
import { RunReleased } from './interruptions.ts'
import { loadRecords } from './records.ts'
import { RunLost, RunWriter } from './run-writer.ts'
import { answered, steadily } from './steadily.ts'
import type { StepExecutors } from './step-executor.ts'

export interface EngineOptions {
  /** Names this worker in the rows it leases. */
  owner: string
  /** Runs in flight at a time. */
  concurrency: number
  executors?: StepExecutors
}

/** A run under this worker's lease; `flow` is null while what is stored of the run is being read. */
interface Held {
  writer: RunWriter
  flow: Flow | null
}

/** Claims runs and advances them. One a process; on Workers one a slice. It owns no timer: others call its verbs. */
export class Engine {
  readonly #runtime: Runtime
  /** As runs see it: what they put is noted. */
  readonly #noted: Runtime
  readonly #options: EngineOptions
  readonly #executors: StepExecutors
  readonly #committer: Committer
  readonly #held = new Map<string, Held>()
  readonly #advances = new Set<Promise<void>>()
  #after: string | null = null
  #stopped = false
  #claiming: Promise<number> | null = null
  #passing: Promise<void> | null = null
  /** A slot may have become free behind what the pass under way has read. */
  #passAgain = false
  /** The last claim was cut by this worker's capacity: more is ready than it could take. */
  #hungry = false
  /** When the runs parked here wake, on the monotonic clock. */
  #nextWakeMs: number | null = null

  constructor(runtime: Runtime, options: EngineOptions) {
    this.#runtime = runtime
    this.#noted = { ...runtime, blobs: notedBlobs(runtime) }
    this.#options = options
    this.#executors = options.executors ?? (stepExecutors as unknown as StepExecutors)
    this.#committer = new Committer(runtime.db, runtime.clock, runtime.log, () => {
      if (this.#hungry && !this.#stopped) this.#claimSoon()
    })
  }

  get inFlight(): number {
    return this.#held.size
  }

  /** Milliseconds until the first of the runs parked by this engine is due; undefined when there is none. */
  get nextWakeInMs(): number | undefined {
    return this.#nextWakeMs === null ? undefined : Math.max(0, this.#nextWakeMs - this.#runtime.clock.monotonicMs())
  }

  /** Claims as many ready runs as there is room for and sets them going. Returns how many. */
  claim(): Promise<number> {
    // Calls that overlap would both count the same room.
    this.#claiming ??= this.#claim().finally(() => {
      this.#claiming = null
    })
    return this.#claiming
  }

  async #claim(): Promise<number> {
    let started = 0
    for (;;) {
      const room = this.#room()
      this.#hungry = room <= 0
      if (room <= 0 || this.#stopped) return started
      const sentMs = this.#runtime.clock.monotonicMs()
      const claim = await answered(claimRuns(this.#runtime.db, this.#options.owner, room, this.#after))
      const receivedMs = this.#runtime.clock.monotonicMs()
      this.#after = claim.after
      for (const run of claim.runs) this.#start(run, sentMs, receivedMs)
      for (const id of claim.blocked) this.#tell(id)
      started += claim.runs.length
      if (!claim.more && claim.runs.length < room) return started
    }
  }

  /**
   * A run whose last checkpoint is on its way makes room already, so that the next claim need not wait for its commit. How
   * much is held in all stays bounded, so that a slow commit lets no worker take the whole queue.
   */
  #room(): number {
    const { concurrency } = this.#options
    let staying = 0
    for (const { writer } of this.#held.values()) if (!writer.leaving) staying++
    return Math.min(concurrency - staying, 2 * concurrency - this.#held.size)
  }

  #start(run: ClaimedRun, sentMs: number, receivedMs: number): void {
    const hub = eventHub(this.#runtime)
    // A run may come back to the worker that let its lease run out and has not noticed. Its first hold ends here.
    this.#held.get(run.id)?.writer.markLost()
    const writer = new RunWriter(run, {
      clock: this.#runtime.clock,
      sentMs,
      requestFlush: this.#committer.request,
      requestLazyFlush: this.#committer.requestLazily,
      onLost: () => held.flow?.abort.abort(new RunLost()),
      onRefused: (refusal) => held.flow?.abort.abort(refusal),
      onCommands: () => void this.#readCommands(held).catch(this.#logReadFailure),
      onEvents: () => hub.notify(run.id),
    })
    // Held from here on, so that claims count the room it takes and renewals reach it.
    const held: Held = { writer, flow: null }
    this.#held.set(run.id, held)
    const work = this.#prepareAndAdvance(run, held, receivedMs)
      .catch((error: unknown) => {
        // Its lease runs out and another worker, or this one, takes it up where its rows say it stands.
        this.#runtime.log.error('A run could not be advanced.', { run_id: run.id, error })
      })
      .finally(() => {
        this.#advances.delete(work)
        if (this.#held.get(run.id) === held) this.#held.delete(run.id)
        if (run.slotted) this.#passSlots()
        if (this.#hungry && !this.#stopped) this.#claimSoon()
      })
    this.#advances.add(work)
  }

  /** Runs that share a commit leave in one turn of the event loop; one claim fills the places of all. */
  #claimSoon(): void {
    this.#claiming ??= nextTurn()
      .then(() => this.#claim())
      .finally(() => {
        this.#claiming = null
      })
    this.#claiming.catch(this.#logReadFailure)
  }

  /** What a run gave back with its last checkpoint goes to the next in line, here or on another worker. */
  #passSlots(): void {
    if (this.#passing) {
      this.#passAgain = true
      return
    }
    this.#passAgain = false
    this.#passing = answered(passSlots(this.#runtime.db, this.#runtime))
      .then((ready) => {
        for (const id of ready) this.#runtime.wake.runReady(id)
        if (ready.length > 0 && !this.#stopped) this.#claimSoon()
      })
      .catch(this.#logReadFailure)
      .finally(() => {
        this.#passing = null
        if (this.#passAgain) this.#passSlots()
      })
  }

  #tell(runId: string): void {
    eventHub(this.#runtime).notify(runId)
    this.#runtime.wake.events(runId)
  }

  async #prepareAndAdvance(run: ClaimedRun, held: Held, receivedMs: number): Promise<void> {
    const { writer } = held
    const read = <T>(statement: () => Promise<T>) => steadily(writer, this.#runtime.clock, statement)
    const [records, previous] = await Promise.all([
      run.first ? new Map() : read(() => loadRecords(this.#runtime.db, run.id)),
      read(() => this.#previous(run)),
    ])
    const flow = new Flow(
      run,
      records,
      writer,
      { runtime: this.#noted, executors: this.#executors, renew: (each) => this.#renewOne(each), previous },
      receivedMs,
      maxRecoveries,
    )
    flow.releasing = this.#stopped
    held.flow = flow
    await advance(flow, () => this.#readCommands(held))
    if (writer.state !== 'waiting') return
    for (const wake of flow.resting.wakes) {
      if (wake.delay_ms === null && wake.wake_at === null) continue
      const ms = wake.delay_ms ?? Date.parse(wake.wake_at ?? '') - flow.nowMs()
      const dueMs = this.#runtime.clock.monotonicMs() + Math.max(0, ms)
      this.#nextWakeMs = this.#nextWakeMs === null ? dueMs : Math.min(this.#nextWakeMs, dueMs)
    }
  }

  readonly #logReadFailure = (error: unknown): void => {
    this.#runtime.log.warn('The engine could not reach its database; it tries again with its next tick.', { error })
  }

  /** `previous`: what the last success before this run's own start left. Read only where the recipe speaks of it. */
  async #previous(run: ClaimedRun): Promise<Json> {
    if (!run.recipe_id || !JSON.stringify(run.definition).includes('previous')) return null
    // Written as the index has it, key and order, and no word more (a recipe is of one workspace): told otherwise, PostgreSQL
    // reads and sorts all successes of the recipe.
    const { rows } = await sql<{ output: Json; finished_at: Date }>`
      select output, finished_at from runs
      where recipe_id = ${run.recipe_id} and state = 'succeeded'
        and state_key ${run.state_key === null ? sql`is null` : sql`= ${run.state_key}`}
        and finished_at <= ${run.started_at}
      order by state_key, finished_at desc limit 1`.execute(this.#runtime.db)
    const row = rows[0]
    return row ? { output: row.output, finished_at: row.finished_at.toISOString() } : null
  }

  /** Renews every lease of this engine; runs that it no longer holds are given up. */
  async renew(): Promise<number> {
    return this.#renew([...this.#held.values()].map((held) => held.writer))
  }

  async #renewOne(writer: RunWriter): Promise<boolean> {
    await this.#renew([writer])
    return !writer.lost && writer.state === 'running'
  }

  async #renew(writers: RunWriter[]): Promise<number> {
    const held = writers.filter((writer) => !writer.lost && writer.state === 'running')
    if (held.length === 0) return 0
    const sentMs = this.#runtime.clock.monotonicMs()
    const confirmed = await answered(renewLeases(this.#runtime.db, held))
    for (const writer of held) {
      const commands = confirmed.get(writer.runId)
      if (commands !== undefined) writer.renewed(sentMs, commands)
      // Absent: taken over, unless it has just left by a checkpoint of its own.
      else if (writer.state === 'running' && !writer.leaving) writer.markLost()
    }
    return confirmed.size
  }

  /** One query for all: which of the runs in flight have commands waiting. */
  async pollInbox(): Promise<number> {
    const ids = [...this.#held.keys()]
    if (ids.length === 0) return 0
    const withCommands = this.#runtime.db
      .selectFrom('runs')
      .select('id')
      .where('id', 'in', ids)
      .where('pending_commands', '>', 0)
    const rows = await answered(withCommands.execute())
    await Promise.all(rows.map((row) => this.#readCommands(this.#held.get(row.id))))
    return rows.length
  }

  async #readCommands(held: Held | undefined): Promise<void> {
    if (held?.flow) await readInbox(held.flow)
  }

  /** Starts nothing any more: runs are handed back at their next step. */
  stopStarting(): void {
    this.#stopped = true
    for (const { flow } of this.#held.values()) if (flow) flow.releasing = true
  }

  /** Resolves when nothing is in flight, a claim and the handing on of slots included. */
  async idle(): Promise<void> {
    while (this.#advances.size > 0 || this.#claiming || this.#passing) {
      await this.#claiming?.catch(() => {})
      await this.#passing
      await Promise.all(this.#advances)
    }
  }

  /** Resolves when any run in flight has left. */
  async anyLeft(): Promise<void> {
    if (this.#advances.size > 0) await Promise.race(this.#advances)
  }

  /** Lets runs come to their next step, hands back those that do not within the grace, and waits until all have left. */
  async drain(graceMs: number): Promise<void> {
    this.stopStarting()
    const timer = setTimeout(() => {
      // A `once` step in mid-flight is let go of only by the process's end: its outcome must not become unknown for nothing.
      for (const { flow } of this.#held.values()) if (!flow?.onceInFlight) flow?.abort.abort(new RunReleased())
    }, graceMs)
    try {
      await this.idle()
    } finally {
      clearTimeout(timer)
    }
  }
}
