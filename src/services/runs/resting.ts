import type { Clock } from '../../context.ts'

/** Shorter rests are slept through under the lease: parking and claiming again would take about as long. */
const shortRestMs = 1_000
/** setTimeout turns longer delays into none at all. */
const longestTimerMs = 2 ** 31 - 1

/** Without a delay and a time: only what comes from outside wakes it. */
export interface Wake {
  path: string
  delay_ms: number | null
  wake_at: string | null
}

export type Verdict = 'rested' | 'parked'

/** What comes from outside: an answer, an event, the end of another run; or room in a budget. */
type News = 'others' | 'budget'

interface Sleeper {
  path: string
  /** Infinity: at no time of its own. */
  dueMs: number
  wakeAt: string | null
  /** What may end it sooner: null for nothing but its time. */
  awaits: News | null
  wake: (verdict: Verdict) => void
}

/**
 * Decides between sleeping and parking. A branch of a run that must wait rests here. While other branches work it
 * sleeps beside them; once all rest, the whole run parks, unless the first of them is due within a second.
 */
export class Resting {
  readonly #clock: Clock
  readonly #sleepers = new Set<Sleeper>()
  #active = 1
  #parked: Wake[] | null = null
  #nudges = 0
  #settled = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Where the run wakes, once it has parked. */
  get wakes(): Wake[] {
    return this.#parked ?? []
  }

  /** How often the run was told to look for what it waits for. Read before a look, given to the rest behind it. */
  get nudges(): number {
    return this.#nudges
  }

  /** As `nudges`, for who waits for room in a budget: with all that calls of this run have given back. */
  get budgetNudges(): number {
    return this.#nudges + this.#settled
  }

  /** What one of the sleepers waits for may have come: they look. */
  nudge(): void {
    this.#nudges++
    for (const sleeper of this.#sleepers) if (sleeper.awaits) sleeper.wake('rested')
  }

  /** A call of this run has given back what it reserved: who waits for that looks, and nobody else. */
  nudgeBudgets(): void {
    this.#settled++
    for (const sleeper of this.#sleepers) if (sleeper.awaits === 'budget') sleeper.wake('rested')
  }

  /**
   * Rests for `ms`. `wakeAt` is the instant where it is a given one. Rejects with the signal's reason when aborted.
   */
  rest(path: string, ms: number, wakeAt: string | null, signal: AbortSignal): Promise<Verdict> {
    return this.#rest({ path, wakeAt, awaits: null }, ms, signal)
  }

  /** Rests until a nudge, and no longer than `ms`. A nudge that came behind the look, whose count is `seen`, ends it at once. */
  async restUntilNudged(
    path: string,
    ms: number,
    wakeAt: string | null,
    signal: AbortSignal,
    seen: number,
    awaits: News = 'others',
  ): Promise<Verdict> {
    if ((awaits === 'budget' ? this.budgetNudges : this.#nudges) !== seen) return 'rested'
    return this.#rest({ path, wakeAt, awaits }, ms, signal)
  }

  async #rest(
    { path, wakeAt, awaits }: Pick<Sleeper, 'path' | 'wakeAt' | 'awaits'>,
    ms: number,
    signal: AbortSignal,
  ): Promise<Verdict> {
    signal.throwIfAborted()
    if (ms <= 0) return 'rested'
    return new Promise((resolve, reject) => {
      const dueMs = this.#clock.monotonicMs() + ms
      const sleeper: Sleeper = { path, dueMs, wakeAt, awaits, wake: () => {} }
      const leave = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        this.#sleepers.delete(sleeper)
        this.#active++
      }
      const onAbort = () => {
        leave()
        reject(signal.reason)
      }
      sleeper.wake = (verdict) => {
        leave()
        resolve(verdict)
      }
      const timer = ms === Infinity ? undefined : setTimeout(() => sleeper.wake('rested'), Math.min(ms, longestTimerMs))
      signal.addEventListener('abort', onAbort)
      this.#sleepers.add(sleeper)
      this.#active--
      this.#parkIfIdle()
    })
  }

  /** Runs branches side by side in place of the one that calls. */
  async sideBySide(branches: (() => Promise<void>)[]): Promise<void> {
    if (branches.length === 0) return
    this.#active += branches.length - 1
    let left = branches.length
    const results = await Promise.allSettled(
      branches.map(async (branch) => {
        try {
          await branch()
        } finally {
          left--
          // The last one's place goes back to the caller.
          if (left > 0) {
            this.#active--
            this.#parkIfIdle()
          }
        }
      }),
    )
    const failed = results.find((result) => result.status === 'rejected')
    if (failed) throw failed.reason
  }

  #parkIfIdle(): void {
    if (this.#active > 0 || this.#sleepers.size === 0) return
    const nowMs = this.#clock.monotonicMs()
    const sleepers = [...this.#sleepers]
    if (Math.min(...sleepers.map((s) => s.dueMs)) - nowMs <= shortRestMs) return
    this.#parked = sleepers.map((s) => ({
      path: s.path,
      delay_ms: s.wakeAt === null && s.dueMs !== Infinity ? Math.max(0, s.dueMs - nowMs) : null,
      wake_at: s.wakeAt,
    }))
    for (const sleeper of sleepers) sleeper.wake('parked')
  }
}
