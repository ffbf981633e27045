import type { LimitDecision } from '../../context.ts'

/** What wrangler.toml binds, besides the settings, which are plain strings. */
export interface Bindings {
  HYPERDRIVE: Hyperdrive
  FILES: R2Bucket
  DISPATCHER: DurableObjectNamespace<AlarmTarget & Rpc.DurableObjectBranded>
  SERVICE_CLOCK: DurableObjectNamespace<AlarmTarget & Rpc.DurableObjectBranded>
  KV: DurableObjectNamespace<KvTarget & Rpc.DurableObjectBranded>
  LIMITER: DurableObjectNamespace<LimiterTarget & Rpc.DurableObjectBranded>
  ASSETS?: Fetcher
}

/** The remote face of an alarm worker. */
export interface AlarmTarget {
  /** Asks for a pass in `delayMs`; an earlier one stands. */
  poke(delayMs?: number): Promise<void>
  /** How its last passes went. */
  status(): Promise<AlarmStatus>
}
export interface AlarmStatus {
  nextPassAt: number | null
  failures: number
  lastError: string | null
}

/** The remote face of a shard of the rate limiter. */
export interface LimiterTarget {
  take(key: string, limit: number, windowSeconds: number, weight?: number): LimitDecision
  peek(key: string, limit: number, windowSeconds: number): LimitDecision
}

/** The remote face of a shard of the kv. */
export interface KvTarget {
  get(key: string): string | null
  set(key: string, value: string, ttlSeconds: number): void
  setIfAbsent(key: string, value: string, ttlSeconds: number): boolean
  increment(key: string, by: number, ttlSeconds: number): number | null
  delete(key: string): void
}

/** Where deferred work of a request, a cron trigger or an alarm goes. */
export type WaitUntil = (work: Promise<unknown>) => void
