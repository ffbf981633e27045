import { DurableObject } from 'cloudflare:workers'
import type { Bindings, KvTarget } from './bindings.ts'

const sweepEveryMs = 10 * 60_000

/** The values of its share of the keys, in rows, so that they outlive the object's memory. */
export class KvShard extends DurableObject<Bindings> implements KvTarget {
  now: () => number = Date.now
  #armed = false

  constructor(state: DurableObjectState, bindings: Bindings) {
    super(state, bindings)
    state.storage.sql.exec(
      'create table if not exists entries (key text primary key, value text not null, ends_ms integer not null) without rowid',
    )
  }

  get(key: string): string | null {
    return this.#live(key)?.value ?? null
  }

  set(key: string, value: string, ttlSeconds: number): void {
    this.#write(key, value, this.#endOf(ttlSeconds))
  }

  setIfAbsent(key: string, value: string, ttlSeconds: number): boolean {
    if (this.#live(key)) return false
    this.#write(key, value, this.#endOf(ttlSeconds))
    return true
  }

  /** Null where the value is no counter. */
  increment(key: string, by: number, ttlSeconds: number): number | null {
    const entry = this.#live(key)
    const before = Number(entry?.value ?? 0)
    if (!Number.isSafeInteger(before)) return null
    this.#write(key, String(before + by), entry?.endsMs ?? this.#endOf(ttlSeconds))
    return before + by
  }

  delete(key: string): void {
    this.ctx.storage.sql.exec('delete from entries where key = ?', key)
  }

  override async alarm(): Promise<void> {
    const { sql } = this.ctx.storage
    sql.exec('delete from entries where ends_ms <= ?', this.now())
    this.#armed = false
    if (sql.exec('select 1 from entries limit 1').toArray().length > 0) await this.#arm()
  }

  #live(key: string): { value: string; endsMs: number } | undefined {
    return this.ctx.storage.sql
      .exec<{ value: string; endsMs: number }>(
        'select value, ends_ms as endsMs from entries where key = ? and ends_ms > ?',
        key,
        this.now(),
      )
      .toArray()[0]
  }

  #write(key: string, value: string, endsMs: number): void {
    this.ctx.storage.sql.exec(
      `insert into entries (key, value, ends_ms) values (?, ?, ?)
       on conflict (key) do update set value = excluded.value, ends_ms = excluded.ends_ms`,
      key,
      value,
      endsMs,
    )
    void this.#arm()
  }

  #endOf(ttlSeconds: number): number {
    return this.now() + Math.round(ttlSeconds * 1000)
  }

  async #arm(): Promise<void> {
    if (this.#armed) return
    this.#armed = true
    // One that is set already stands: an object that wakes often would otherwise put it off for ever.
    if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(Date.now() + sweepEveryMs)
  }
}
