import type { Clock } from '../../context.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import type { JsonObject } from '../../lib/json.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { CheckpointRefused } from './interruptions.ts'
import { isEnd } from './states.ts'
import type {
  CallWrite,
  Checkpoint,
  CheckpointResult,
  EventWrite,
  Leaving,
  StepWrite,
  UsageWrite,
} from './checkpoint.ts'

/** Another worker has the run now, or the lease could not be confirmed: stop at once, without another effect. */
export class RunLost extends Error {
  constructor() {
    super('The run was taken over.')
    this.name = 'RunLost'
  }
}

/** A step as its owner sees it; `started` and `finished` are readings of the monotonic clock, turned into intervals when written. */
export interface StepDraft extends Omit<StepWrite, 'started_ms_ago' | 'finished_ms_ago'> {
  startedMs: number | null
  finishedMs: number | null
}

interface Waiter {
  resolve: () => void
  reject: (error: unknown) => void
}

/** What is written to a run and not yet committed. */
interface Pending {
  steps: Map<string, StepDraft>
  calls: Map<string, CallWrite>
  events: (Omit<EventWrite, 'ms_ago'> & { atMs: number })[]
  usage: UsageWrite[]
  totals: JsonObject | null
  leaving: Leaving | null
  waits: Checkpoint['waits']
  applied: string[]
  progress: boolean
  /** Holds a result, of a failed attempt at least: no effect may start before it is committed. */
  result: boolean
  /** Steps that have merely begun, each with its event: the last that happened. A commit of results leaves them behind. */
  begun: { draft: StepDraft; event: Pending['events'][number] }[]
  waiters: Waiter[]
}

const nothing = (): Pending => ({
  steps: new Map(),
  calls: new Map(),
  events: [],
  usage: [],
  totals: null,
  leaving: null,
  waits: [],
  applied: [],
  progress: false,
  result: false,
  begun: [],
  waiters: [],
})

/**
 * The one pen for a run's rows while its lease is held. Whatever is added waits in memory, merges, and goes with the
 * next checkpoint: `commit` asks for one and waits, anything else rides along or goes within `lazyMs`.
 */
export class RunWriter {
  readonly runId: string
  readonly fence: number
  rev: number
  state: RunState = 'running'
  /** Commands in the inbox that nobody has applied, as far as the last answer of the database told. */
  pendingCommands: number
  lost = false
  /** When the last confirmed write or renewal was sent, on the monotonic clock. */
  confirmedMs: number
  readonly #clock: Clock
  readonly #requestFlush: (writer: RunWriter) => void
  readonly #requestLazyFlush: (writer: RunWriter) => void
  readonly #onLost: () => void
  readonly #onRefused: (refusal: CheckpointRefused) => void
  readonly #onCommands: () => void
  readonly #onEvents: () => void
  #pending = nothing()
  #inFlight: { pending: Pending; checkpoint: Checkpoint; sentMs: number } | null = null
  #refusal: CheckpointRefused | null = null
  /** Steps of the refused checkpoint. */
  #dropped: StepDraft[] = []

  constructor(
    run: { id: string; fence: number; rev: number; pending_commands: number },
    hooks: {
      clock: Clock
      sentMs: number
      requestFlush: (writer: RunWriter) => void
      requestLazyFlush: (writer: RunWriter) => void
      onLost: () => void
      onRefused: (refusal: CheckpointRefused) => void
      onCommands: () => void
      onEvents: () => void
    },
  ) {
    this.runId = run.id
    this.fence = run.fence
    this.rev = run.rev
    this.pendingCommands = run.pending_commands
    this.#clock = hooks.clock
    this.confirmedMs = hooks.sentMs
    this.#requestFlush = hooks.requestFlush
    this.#requestLazyFlush = hooks.requestLazyFlush
    this.#onLost = hooks.onLost
    this.#onRefused = hooks.onRefused
    this.#onCommands = hooks.onCommands
    this.#onEvents = hooks.onEvents
  }

  /**
   * A step has begun. The row and the event of a step that ends soon are written once, with its end; others are written when
   * something else is, or within `lazyMs`.
   */
  begun(draft: StepDraft, type: string, data: JsonObject): void {
    if (this.#hasLeft) return
    this.#pending.begun.push({ draft, event: { type, data, atMs: this.#clock.monotonicMs() } })
    this.#requestLazyFlush(this)
  }

  /** What has begun goes with the next checkpoint, whatever that is for. */
  includeBegun(): void {
    const { begun, steps, events } = this.#pending
    for (const { draft, event } of begun.splice(0)) {
      steps.set(draft.path, draft)
      events.push(event)
    }
  }

  step(draft: StepDraft, ended = false): void {
    if (this.#hasLeft) return
    this.includeBegun()
    this.#pending.steps.set(draft.path, draft)
    if (ended) this.#pending.progress = this.#pending.result = true
    this.#requestLazyFlush(this)
  }

  /** An attempt has failed and another comes: a resume must know of the first before the second has an effect. */
  failedAttempt(draft: StepDraft): void {
    if (this.#hasLeft) return
    this.step(draft)
    this.#pending.result = true
  }

  call(write: CallWrite): void {
    if (this.#hasLeft) return
    this.includeBegun()
    this.#pending.calls.set(write.key, write)
    this.#pending.progress = this.#pending.result = true
  }

  event(type: string, data: JsonObject): void {
    if (this.#hasLeft) return
    this.includeBegun()
    const last = this.#pending.events.at(-1)
    // Neighbouring pieces of one text become one event, so a stream of words is not a row each.
    if (type === 'text.delta' && last?.type === type && last.data['path'] === data['path']) {
      last.data = { ...last.data, text: `${last.data['text'] as string}${data['text'] as string}` }
    } else if (last && this.#isEnding)
      // The end is the last word of a log: what an effect says that was cut off for it comes before.
      this.#pending.events.splice(-1, 0, { type, data, atMs: last.atMs })
    else this.#pending.events.push({ type, data, atMs: this.#clock.monotonicMs() })
    this.#requestLazyFlush(this)
  }

  usage(write: UsageWrite, totals: JsonObject): void {
    if (this.#hasLeft) return
    this.#pending.usage.push(write)
    this.#pending.totals = totals
  }

  /** A command has been taken up. A run that was about to park, pause or be handed back stays, so that the command has its effect. */
  applied(commandId: string): void {
    this.#pending.applied.push(commandId)
    const leaving = this.#pending.leaving?.state
    if (leaving === 'waiting' || leaving === 'paused' || leaving === 'queued') {
      this.#pending.leaving = null
      this.#pending.waits = []
    }
  }

  /** What comes late, from an effect that was left behind, is written by nobody. */
  get #hasLeft(): boolean {
    return this.lost || this.state !== 'running'
  }

  /** The event of the run's end is the last that waits to be written. */
  get #isEnding(): boolean {
    const leaving = this.#pending.leaving
    return leaving !== null && isEnd(leaving.state)
  }

  /** A checkpoint that ends the lease is on its way. */
  get leaving(): boolean {
    return this.#pending.leaving !== null || (this.#inFlight?.checkpoint.leaving ?? null) !== null
  }

  /** Resolves once everything added so far is committed. Rejects with RunLost or CheckpointRefused. */
  commit(): Promise<void> {
    this.includeBegun()
    return this.#written()
  }

  #written(): Promise<void> {
    if (this.lost) return Promise.reject(new RunLost())
    if (this.#refusal) return Promise.reject(this.#refusal)
    if (this.#isEmpty() && !this.#inFlight) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const target = this.#isEmpty() ? this.#inFlight!.pending : this.#pending
      target.waiters.push({ resolve, reject })
      this.#requestFlush(this)
    })
  }

  /**
   * Resolves once every result added so far is committed; the news of steps that have merely begun may stay behind.
   * Asked for before each effect.
   */
  settled(): Promise<void> {
    if (this.lost) return Promise.reject(new RunLost())
    if (this.#refusal) return Promise.reject(this.#refusal)
    if (this.#pending.result || this.#inFlight?.pending.result) return this.#written()
    return Promise.resolve()
  }

  /** Ends this owner's lease with the next checkpoint. `false`: commands wait, so the run stayed here. */
  async leave(leaving: Leaving, waits: Checkpoint['waits'] = []): Promise<boolean> {
    this.#pending.leaving = leaving
    this.#pending.waits = waits
    await this.commit()
    return this.state !== 'running'
  }

  /** The committer's side: takes what is pending as a checkpoint, or null. At most one is under way at a time. */
  take(): Checkpoint | null {
    if (this.#inFlight || this.#hasLeft || this.#refusal || this.#isEmpty()) return null
    const pending = this.#pending
    this.#pending = { ...nothing(), begun: pending.begun }
    const nowMs = this.#clock.monotonicMs()
    const ago = (ms: number | null) => (ms === null ? null : Math.max(0, nowMs - ms))
    const checkpoint: Checkpoint = {
      id: uuidv7(),
      runId: this.runId,
      fence: this.fence,
      rev: this.rev,
      steps: [...pending.steps.values()].map(({ startedMs, finishedMs, ...step }) => ({
        ...step,
        started_ms_ago: ago(startedMs),
        finished_ms_ago: ago(finishedMs),
      })),
      calls: [...pending.calls.values()],
      events: pending.events.map(({ atMs, ...event }) => ({ ...event, ms_ago: Math.max(0, nowMs - atMs) })),
      usage: pending.usage,
      totals: pending.totals,
      leaving: pending.leaving,
      waits: pending.waits,
      applied: pending.applied,
      progress: pending.progress,
    }
    this.#inFlight = { pending, checkpoint, sentMs: nowMs }
    return checkpoint
  }

  /** The database's answer to the checkpoint that was taken; undefined: it was not written, the run belongs to another. */
  settle(result: CheckpointResult | undefined): void {
    const { pending, sentMs, checkpoint } = this.#inFlight!
    this.#inFlight = null
    if (!result) {
      this.markLost(pending.waiters)
      return
    }
    this.rev++
    this.confirmedMs = sentMs
    this.state = result.state
    this.pendingCommands = result.pendingCommands
    for (const waiter of pending.waiters) waiter.resolve()
    if (checkpoint.events.length > 0) this.#onEvents()
    if (this.state === 'running') {
      if (this.pendingCommands > 0) this.#onCommands()
      if (this.#pending.waiters.length > 0) this.#requestFlush(this)
      else if (!this.#isEmpty() || this.#pending.begun.length > 0) this.#requestLazyFlush(this)
    }
  }

  /**
   * The database refused the values of the checkpoint; nothing of it was written, and it is dropped. The run must not go
   * on as if it were stored: nothing is committed until `takeRefusal`.
   */
  refuse(error: unknown): void {
    const dropped = this.#inFlight!.pending
    this.includeBegun()
    this.#inFlight = null
    const refusal = new CheckpointRefused(error)
    this.#refusal = refusal
    this.#dropped.push(...dropped.steps.values())
    const waiters = [...dropped.waiters, ...this.#pending.waiters]
    this.#pending = { ...this.#pending, waiters: [], leaving: null, waits: [] }
    for (const waiter of waiters) waiter.reject(refusal)
    this.#onRefused(refusal)
  }

  /** The steps whose rows were dropped, for the end of the run to tell of them. Writing goes on behind it. */
  takeRefusal(): StepDraft[] {
    const dropped = this.#dropped.filter((draft) => !this.#pending.steps.has(draft.path))
    this.#dropped = []
    this.#refusal = null
    return dropped
  }

  renewed(sentMs: number, pendingCommands: number): void {
    this.confirmedMs = Math.max(this.confirmedMs, sentMs)
    this.pendingCommands = pendingCommands
    if (pendingCommands > 0) this.#onCommands()
  }

  markLost(more: readonly Waiter[] = []): void {
    if (this.lost) return
    this.lost = true
    const waiters = [...more, ...this.#pending.waiters, ...(this.#inFlight?.pending.waiters ?? [])]
    this.#pending = nothing()
    for (const waiter of waiters) waiter.reject(new RunLost())
    this.#onLost()
  }

  #isEmpty(): boolean {
    const p = this.#pending
    return (
      p.leaving === null &&
      p.steps.size === 0 &&
      p.calls.size === 0 &&
      p.events.length === 0 &&
      p.usage.length === 0 &&
      p.applied.length === 0
    )
  }
}
