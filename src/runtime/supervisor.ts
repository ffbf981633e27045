import type { BackgroundService, ComponentHealth, Runtime, ServiceStatus, TickReport, WakeSignal } from '../context.ts'
import { DatabaseAway } from '../lib/database-away.ts'
import { errorLabel } from '../lib/error-label.ts'
import { serviceMetrics } from './service-status.ts'
import { tick } from './tick-span.ts'

/** Calls back once after the time; returns what cancels it. Tests pass their own. */
export type After = (ms: number, callback: () => void) => () => void

export interface Supervisor {
  status(): ServiceStatus[]
  /** Starts no further tick and waits for those in progress. */
  stop(): Promise<void>
}

const maxBackoffMs = 60_000
/** An attempt on a database that is away costs nothing, and work waits for its return. */
const maxBackoffWhileAwayMs = 2_000
/** Between two ticks that `nextInMs` asks for, so that work which is due but cannot be done does not spin. */
const minGapMs = 10
/** A tick is one short pass, so one that takes this many times the service's period (or a minute) hangs. */
const stuckPeriods = 10
const stuckMs = 60_000

const realAfter: After = (ms, callback) => {
  const timer = setTimeout(callback, ms)
  return () => clearTimeout(timer)
}

/**
 * Calls each service at its period and, where a wake-up concerns it, at once. A service never has two ticks at the
 * same time in a process; what arrives during one leads to one more after it. Registers `services`, the probe of that name and
 * its metrics.
 */
export function createSupervisor(
  runtime: Runtime,
  services: readonly BackgroundService[],
  after: After = realAfter,
): Supervisor {
  const loops = services.map((service) => new ServiceLoop(runtime, service, after))
  const unsubscribe = runtime.wake.listen((signal) => {
    for (const loop of loops) loop.hear(signal)
  })
  const status = () => loops.map((loop) => loop.status())
  runtime.services = status
  runtime.probes['services'] = async () => toHealth(loops)
  runtime.collectors = [...(runtime.collectors ?? []), () => serviceMetrics(status())]
  for (const loop of loops) loop.start()
  return {
    status,
    async stop() {
      unsubscribe()
      await Promise.all(loops.map((loop) => loop.stop()))
    },
  }
}

function toHealth(loops: ServiceLoop[]): ComponentHealth {
  const troubled = loops.filter((loop) => loop.troubled)
  if (troubled.length === 0) return { status: 'healthy' }
  return { status: 'degraded', detail: `Failing or stuck: ${troubled.map((loop) => loop.name).join(', ')}.` }
}

class ServiceLoop {
  readonly #runtime: Runtime
  readonly #service: BackgroundService
  readonly #after: After
  readonly #interest: ReadonlySet<WakeSignal['kind']>
  #stopped = false
  #cancel = () => {}
  #dueAt = 0
  #running: Promise<void> | null = null
  #startedAt = 0
  #wanted = false
  #lastTickAt: Date | null = null
  #lastDurationMs: number | null = null
  #lastReport: TickReport | null = null
  #lastError: string | null = null
  #lagMs = 0
  #failuresInARow = 0
  #ticks = 0
  #failures = 0

  constructor(runtime: Runtime, service: BackgroundService, after: After) {
    this.#runtime = runtime
    this.#service = service
    this.#after = after
    this.#interest = new Set(service.wakeOn)
  }

  get name(): string {
    return this.#service.name
  }

  get troubled(): boolean {
    const stuckAfterMs = Math.max(stuckMs, stuckPeriods * this.#service.periodMs)
    return this.#failuresInARow > 0 || (this.#runningMs ?? 0) > stuckAfterMs
  }

  start(): void {
    this.#arrange(0)
  }

  hear(signal: WakeSignal): void {
    if (!this.#interest.has(signal.kind) || this.#stopped) return
    if (this.#running) this.#wanted = true
    // While it fails, its backoff holds: a flood of signals must not become a flood of failures.
    else if (this.#failuresInARow === 0) this.#arrange(0)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#cancel()
    await this.#running
  }

  status(): ServiceStatus {
    const overdueMs = this.#running || this.#stopped ? 0 : this.#nowMs() - this.#dueAt
    return {
      name: this.#service.name,
      period_ms: this.#service.periodMs,
      last_tick_at: this.#lastTickAt?.toISOString() ?? null,
      last_duration_ms: this.#lastDurationMs,
      last_result: this.#lastTickAt === null ? null : this.#lastError === null ? 'ok' : 'failed',
      last_done: this.#lastReport?.done ?? null,
      last_error: this.#lastError,
      lag_ms: Math.max(this.#lagMs, Math.round(overdueMs)),
      running_ms: this.#runningMs,
      failures_in_a_row: this.#failuresInARow,
      ticks: this.#ticks,
      failures: this.#failures,
      troubled: this.troubled,
    }
  }

  get #runningMs(): number | null {
    return this.#running ? Math.round(this.#nowMs() - this.#startedAt) : null
  }

  #nowMs(): number {
    return this.#runtime.clock.monotonicMs()
  }

  #arrange(ms: number): void {
    const dueAt = this.#nowMs() + ms
    this.#cancel()
    this.#dueAt = dueAt
    this.#cancel = this.#after(ms, () => {
      this.#running = this.#tick()
    })
  }

  async #tick(): Promise<void> {
    this.#startedAt = this.#nowMs()
    this.#lagMs = Math.max(0, Math.round(this.#startedAt - this.#dueAt))
    this.#wanted = false
    let report: TickReport | null = null
    let failure: unknown
    try {
      report = await tick(this.#service, this.#runtime)
    } catch (error) {
      failure = error ?? new Error('The tick failed without a reason.')
    }
    this.#lastDurationMs = Math.round(this.#nowMs() - this.#startedAt)
    this.#lastTickAt = this.#runtime.clock.now()
    this.#ticks += 1
    this.#running = null
    if (report) this.#succeeded(report)
    else this.#failed(failure)
  }

  #succeeded(report: TickReport): void {
    if (this.#failuresInARow > 0) this.#runtime.log.info('Background service recovered', { service: this.name })
    this.#failuresInARow = 0
    this.#lastReport = report
    this.#lastError = null
    if (this.#stopped) return
    const again = report.more || this.#wanted
    const nextInMs = Math.max(minGapMs, report.nextInMs ?? Infinity)
    this.#arrange(again ? 0 : Math.min(this.#service.periodMs, nextInMs))
  }

  #failed(error: unknown): void {
    this.#failures += 1
    this.#failuresInARow += 1
    this.#lastError = errorLabel(error)
    this.#runtime.log.error('Background service failed', {
      service: this.name,
      failures_in_a_row: this.#failuresInARow,
      error,
    })
    if (this.#stopped) return
    if (this.#service.steady) return this.#arrange(this.#service.periodMs)
    const exponent = Math.min(this.#failuresInARow - 1, 16)
    const most = error instanceof DatabaseAway ? maxBackoffWhileAwayMs : maxBackoffMs
    this.#arrange(Math.min(most, Math.max(this.#service.periodMs, 1000) * 2 ** exponent))
  }
}
