import { DurableObject } from 'cloudflare:workers'
import type { LimitDecision } from '../../context.ts'
import { decide, weightOf, windowAt, type Window } from '../sliding-window.ts'
import type { Bindings, LimiterTarget } from './bindings.ts'

// Below the ten seconds after which an idle object may lose its memory. A crash forgets at most as much.
const writeAfterMs = 5_000
const sweepEveryMs = 10 * 60_000

/**
 * The budgets of its share of the keys. Counted in memory, so a request writes nothing; what was counted is written every
 * few seconds, a row a key, and read again by whoever comes after an eviction.
 */
export class LimiterShard extends DurableObject<Bindings> implements LimiterTarget {
  now: () => number = Date.now
  /** Since the last writing. */
  readonly #windows = new Map<string, Window & { windowMs: number }>()
  #armed = false
  #sweepAtMs = 0

  constructor(state: DurableObjectState, bindings: Bindings) {
    super(state, bindings)
    state.storage.sql.exec(
      `create table if not exists windows (
         key text primary key, start_ms integer not null, current integer not null, previous integer not null,
         ends_ms integer not null
       ) without rowid`,
    )
  }

  take(key: string, limit: number, windowSeconds: number, weight = 1): LimitDecision {
    const windowMs = windowSeconds * 1000
    const { window, nowMs } = this.#windowOf(key, windowMs)
    const taking = weightOf(weight, limit)
    const decision = decide(window, limit, windowMs, nowMs, taking)
    if (decision.allowed) window.current += taking
    this.#windows.set(key, { ...window, windowMs })
    this.#arm()
    return decision
  }

  peek(key: string, limit: number, windowSeconds: number): LimitDecision {
    const windowMs = windowSeconds * 1000
    const { window, nowMs } = this.#windowOf(key, windowMs)
    return decide(window, limit, windowMs, nowMs, 0)
  }

  override async alarm(): Promise<void> {
    const { storage } = this.ctx
    const { sql } = storage
    const nowMs = this.now()
    for (const [key, { startMs, current, previous, windowMs }] of this.#windows) {
      sql.exec(
        `insert into windows (key, start_ms, current, previous, ends_ms) values (?, ?, ?, ?, ?)
         on conflict (key) do update set start_ms = excluded.start_ms, current = excluded.current,
           previous = excluded.previous, ends_ms = excluded.ends_ms`,
        key,
        startMs,
        current,
        previous,
        startMs + 2 * windowMs,
      )
    }
    this.#windows.clear()
    this.#armed = false
    if (nowMs >= this.#sweepAtMs) {
      sql.exec('delete from windows where ends_ms <= ?', nowMs)
      this.#sweepAtMs = nowMs + sweepEveryMs
    }
    if (sql.exec('select 1 from windows limit 1').toArray().length > 0)
      await storage.setAlarm(Date.now() + sweepEveryMs)
  }

  #windowOf(key: string, windowMs: number): { window: Window; nowMs: number } {
    const known = this.#windows.get(key) ?? this.#read(key)
    // The object may wake on a machine whose clock is behind.
    const nowMs = Math.max(this.now(), known?.startMs ?? 0)
    return { window: windowAt(known, windowMs, nowMs), nowMs }
  }

  #read(key: string): Window | undefined {
    return this.ctx.storage.sql
      .exec<{ startMs: number; current: number; previous: number }>(
        'select start_ms as startMs, current, previous from windows where key = ?',
        key,
      )
      .toArray()[0]
  }

  #arm(): void {
    if (this.#armed) return
    this.#armed = true
    // Nobody's answer waits for it: what it protects is only worth keeping, not worth a delay.
    void this.ctx.storage.setAlarm(Date.now() + writeAfterMs, { allowUnconfirmed: true })
  }
}
