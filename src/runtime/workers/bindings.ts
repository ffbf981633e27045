/** What wrangler.toml binds, besides the settings, which are plain strings. */
export interface Bindings {
  HYPERDRIVE: Hyperdrive
  FILES: R2Bucket
  DISPATCHER: DurableObjectNamespace<AlarmTarget & Rpc.DurableObjectBranded>
  SERVICE_CLOCK: DurableObjectNamespace<AlarmTarget & Rpc.DurableObjectBranded>
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

/** Where deferred work of a request, a cron trigger or an alarm goes. */
export type WaitUntil = (work: Promise<unknown>) => void
