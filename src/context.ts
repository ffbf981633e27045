import type { Context, Span, SpanContext, SpanOptions, Tracer } from '@opentelemetry/api'
import type { Kysely } from 'kysely'
import type { Config } from './config.ts'
import type { Database } from './db/database.ts'
import type { MetricFamily } from './lib/metrics/instruments.ts'
import type { Measures } from './lib/metrics/measures.ts'
import type { Permission } from './lib/permissions.ts'

/** The process clock. Serves logs and durations; anything that decides about runs asks the database (`app_now()`). */
export interface Clock {
  now(): Date
  /** Milliseconds that only ever grow, for measuring durations. */
  monotonicMs(): number
}

export interface Log {
  debug(message: string, fields?: object): void
  info(message: string, fields?: object): void
  warn(message: string, fields?: object): void
  error(message: string, fields?: object): void
  /** A log whose every line carries these fields too. */
  with(fields: object): Log
  /** The least severity that is written from now on, by every log of the process. */
  setLevel?(level: 'debug' | 'info' | 'warn' | 'error'): void
}

/** Bytes by key. Keys are `/`-separated, made by us, never by a caller. */
export interface Blobs {
  put(key: string, bytes: Uint8Array, options?: { mediaType?: string }): Promise<void>
  get(key: string): Promise<Uint8Array | null>
  delete(key: string): Promise<void>
}

/**
 * Tells workers, wherever they are, that there is something to do. A hint only: every listener also polls,
 * so a lost wake-up costs latency, never work. Call it after the commit that made the work.
 */
export interface Wake {
  /** A run has become ready. `runId` lets a platform spread work; any worker may claim the run. */
  runReady(runId: string): void
  /** A run's inbox has a command for whoever holds its lease. */
  command(runId: string): void
  /** A run's event log has grown. */
  events(runId: string): void
  /** A schedule was made or changed: its next slot may be sooner than thought. */
  schedulesChanged(): void
  /** Subscribes this process. Returns the unsubscribe function. On Workers nothing is ever heard here. */
  listen(listener: (signal: WakeSignal) => void): () => void
}
/** `runId` may be `anyRun` (src/lib/any-run.ts): too many to name, or signals were lost. */
export type WakeSignal =
  | { kind: 'run-ready' | 'command' | 'events'; runId: string }
  | { kind: 'schedules-changed' }
  /** The rights of a key, of a user, or of all in a workspace have changed. `anyCaller`: signals were lost. */
  | { kind: 'callers-changed'; callerId: string }
  /** A setting of the installation has changed. */
  | { kind: 'settings-changed' }

export interface LimitDecision {
  allowed: boolean
  limit: number
  remaining: number
  /** Whole seconds until the window turns. */
  resetSeconds: number
}
/** Counts requests by key in a window. In process it answers without a promise, which keeps the hot path synchronous. */
export interface Limiter {
  /**
   * Takes `weight` (1) at once, or nothing. Who asks for more than the limit asks for all of it: it passes where nothing else
   * was taken.
   */
  take(key: string, limit: number, windowSeconds: number, weight?: number): LimitDecision | Promise<LimitDecision>
  /** Reads without counting. */
  peek(key: string, limit: number, windowSeconds: number): LimitDecision | Promise<LimitDecision>
}

/**
 * Small texts by key that every instance sees, each with an end: caches, first-come marks, counters. Any value may be gone
 * at any time, so nothing that must last lives here.
 */
export interface Kv {
  get(key: string): Promise<string | null>
  set(key: string, value: string, ttlSeconds: number): Promise<void>
  /** True for exactly one of any number of callers within `ttlSeconds`. */
  setIfAbsent(key: string, value: string, ttlSeconds: number): Promise<boolean>
  /** Adds to a counter and returns its new value; its life begins with the first addition and is not prolonged. */
  increment(key: string, by: number, ttlSeconds: number): Promise<number>
  delete(key: string): Promise<void>
}

/** AES-256-GCM and signatures under the key ring. `context` binds the text to its place (table, row), so rows cannot be swapped. */
export interface Cipher {
  seal(plain: string, context: string): Promise<string>
  open(sealed: string, context: string): Promise<string>
  /** A proof, `<key id>.<HMAC-SHA-256>`, that this installation wrote the text for this purpose. */
  sign(text: string, purpose: string): Promise<string>
  /** False for any text, signature or purpose but those that belong together. */
  verify(text: string, signature: string, purpose: string): Promise<boolean>
}

/** Who uses a credential within a workspace. */
export interface EgressPurpose {
  runId?: string
  step?: string
  agentId?: string
  tool?: string
}
export interface EgressOptions {
  /** Whose rules apply, and whose credentials may be used; without it any credential reference is refused. */
  workspaceId?: string
  /** Slug or id of a stored credential to inject (`auth: {credential}`); its host binding is enforced on every hop. */
  credential?: string
  /** False: the request reaches no secret, whatever it holds. */
  secrets?: false
  /** It carries a secret of its own: then no hop goes without https, unless the operator trusts the place. */
  confidential?: true
  /** What it is sent for, as the uses of a credential tell it. */
  by?: EgressPurpose
  signal?: AbortSignal
  /** Caps on the answer. */
  maxResponseBytes?: number
  timeoutMs?: number
  maxRedirects?: number
}
/**
 * The one way out for requests that a tenant controls. Refuses private, link-local and metadata addresses (unless in
 * `EGRESS_ALLOW`), checks every redirect again, replaces `secret()` placeholders for the hosts they are bound to.
 * Throws EgressError; never returns a redirect.
 */
export type Egress = (request: Request, options?: EgressOptions) => Promise<Response>

/**
 * Reads a text from an address that the configuration names, never one that a tenant chose. Bounded in time and size;
 * throws on anything but a whole answer.
 */
export type ReadConfigured = (url: string) => Promise<string>

/**
 * Hands a plain text message over to the mail server of the configuration. Rejects with the server's code in `code` where
 * it refused. The key goes into the Message-ID, so that receivers recognise a repeat.
 */
export type SendMail = (
  mail: { from: string; to: readonly string[]; subject: string; text: string; idempotencyKey: string },
  signal: AbortSignal,
) => Promise<void>

/**
 * Opens a connection for nothing but to see whether a credential is accepted: checked and pinned as the guard's are, and
 * bounded. Rejects with EgressError, whose message may be shown.
 */
export type SignIn = (
  kind: 'smtp' | 'postgres',
  fields: Readonly<Record<string, string>>,
  options: { workspaceId: string; hosts: readonly string[] },
) => Promise<void>

/** Files that ship with the product and are served as they are (`swagger-ui.css`). Null = there is no such file. */
export type Assets = (path: string) => Promise<{ bytes: Uint8Array; mediaType: string } | null>

/** Where spans go. */
export interface Tracing {
  tracer: Tracer
  /** Starts the span whose place was given out before, so that others could be its children: a run's, which ends elsewhere. */
  resume(place: SpanContext, name: string, options: SpanOptions, parent: SpanContext | null): Span
  /** Sends what has ended so far. Never throws. */
  flush(): Promise<void>
}

export type { MetricFamily } from './lib/metrics/instruments.ts'
/** Reads what a part of the process can tell right now. Called at each scrape. */
export type Collector = () => MetricFamily[] | Promise<MetricFamily[]>

export type Platform = 'node' | 'bun' | 'workers'

/** Measured state of one optional or vital part, as `/health` shows it. */
export interface ComponentHealth {
  status: 'healthy' | 'degraded' | 'unhealthy'
  detail?: string
  latency_ms?: number | null
}

/** How a background service fares, as the platform that calls it has measured it. */
export interface ServiceStatus {
  name: string
  period_ms: number
  /** Null before the first tick. */
  last_tick_at: string | null
  last_duration_ms: number | null
  last_result: 'ok' | 'failed' | null
  last_done: number | null
  /** A label that may be shown to anybody; the log has the reason. */
  last_error: string | null
  /** How late the service is: the tick in progress or the last one, or the one that is overdue now. */
  lag_ms: number
  /** Null while no tick is in progress. */
  running_ms: number | null
  failures_in_a_row: number
  ticks: number
  failures: number
  /** Failing, or in a tick that takes far longer than it may. */
  troubled: boolean
}

/** What a long-lived process measures of itself. */
export interface ProcessFigures {
  host: string
  pid: number
  uptime_ms: number
  memory_bytes: number
  /** The longest that the event loop was held up since the last look; null before it was measured. */
  event_loop_lag_ms: number | null
}

/** What the platform provides. One adapter per platform builds it. */
export interface Runtime {
  platform: Platform
  /** Names this process (on Workers: this isolate) in leases and logs. */
  instance: string
  config: Config
  db: Kysely<Database>
  kv: Kv
  blobs: Blobs
  wake: Wake
  limiter: Limiter
  /** Work that may outlive the answer; awaited at shutdown, `waitUntil` on Workers. Failures are logged. */
  defer(work: Promise<unknown>): void
  clock: Clock
  /** Cryptographically strong random bytes. */
  random(bytes: number): Uint8Array
  log: Log
  egress: Egress
  readConfigured: ReadConfigured
  /** Signs in where no HTTP is spoken. Absent where the runtime opens no sockets. */
  signIn?: SignIn
  /** Absent where the runtime opens no sockets, or no mail server is configured. */
  smtp?: SendMail
  cipher: Cipher
  /** Probes of the platform's own parts (database, blobs, wake), by component name. */
  probes: Record<string, () => Promise<ComponentHealth>>
  /** Absent where the platform ships no files: then the pages that need them say so. */
  assets?: Assets
  /** Gauges of background services and of the process, beside the HTTP figures. */
  collectors?: Collector[]
  /** What is counted as it happens, for `/metrics`. Absent: nothing is. */
  measures?: Measures
  /** Absent: nothing is traced, and tracing costs nothing. */
  tracing?: Tracing
  /** The span that this is done for, where there is one. */
  trace?: Context
  /** The background services of this process; on Workers those of the sweep in progress. Absent where nothing calls any. */
  services?: () => ServiceStatus[]
  /** Absent where there is no process that lasts. */
  figures?: () => ProcessFigures
  /** Aborts when the process begins to shut down. Absent where nobody is told. */
  shutdown?: AbortSignal
}

/** Who acts. Only authentication and the engine make one; services take tenancy from nowhere else. */
export interface Actor {
  kind: 'key' | 'user' | 'system'
  /** The id of the API key, of the user, or of the run or schedule that acts. */
  id: string
  workspaceId: string
  permissions: ReadonlySet<Permission>
  /** Of a user whose token names it: the session at the identity provider. */
  sessionId?: string
  /** Of who comes with a key: how its hash begins. What is made with one text of a key ends with that text. */
  keyHash?: string
}

/** What a service may touch. */
export interface ServiceContext extends Runtime {
  actor: Actor
  requestId?: string
  /** Who sent the request. Its address is made out only where it is asked for. */
  client?: { readonly address: string }
}

/** The answer of one bounded pass of a background service. */
export interface TickReport {
  /** How many units of work the pass did. */
  done: number
  /** True when the pass stopped at its bound and should be called again at once. */
  more: boolean
  /** Milliseconds until the next known work, where the service knows it. */
  nextInMs?: number
}

/** A background service. It owns no timer: a supervisor, a cron trigger or an alarm calls `tick`. */
export interface BackgroundService {
  name: string
  periodMs: number
  /** Serves runs that this very process holds: a platform that calls services from outside leaves it out. */
  processBound?: boolean
  /** Wake-ups that call it early. */
  wakeOn?: WakeSignal['kind'][]
  /** Measures at even distances: it is called at its period also after a failure, and on Workers by the cron minute alone. */
  steady?: boolean
  tick(runtime: Runtime): Promise<TickReport>
}
