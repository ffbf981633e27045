import type { BackgroundService, Clock, ServiceStatus, TickReport } from '../../context.ts'
import { errorLabel } from '../../lib/error-label.ts'

/** How the services fare in one sweep. Nothing here lasts longer: whoever stores it adds it to what was before. */
export class SweepStatus {
  readonly #clock: Clock
  readonly #periodMs: number
  readonly #dueAtMs: number
  readonly #begunMs = new Map<string, number>()
  readonly #services = new Map<string, ServiceStatus>()

  /** `dueAtMs`: when the sweep should have begun, by the process clock. */
  constructor(clock: Clock, periodMs: number, dueAtMs: number) {
    this.#clock = clock
    this.#periodMs = periodMs
    this.#dueAtMs = dueAtMs
  }

  begin({ name }: BackgroundService): void {
    this.#begunMs.set(name, this.#clock.monotonicMs())
    this.#services.set(name, {
      name,
      period_ms: this.#periodMs,
      last_tick_at: null,
      last_duration_ms: null,
      last_result: null,
      last_done: null,
      last_error: null,
      lag_ms: Math.max(0, this.#clock.now().getTime() - this.#dueAtMs),
      running_ms: null,
      failures_in_a_row: 0,
      ticks: 0,
      failures: 0,
      troubled: false,
    })
  }

  succeeded({ name }: BackgroundService, { done }: Pick<TickReport, 'done'>): void {
    this.#ended(name, { last_result: 'ok', last_done: done })
  }

  failed({ name }: BackgroundService, error: unknown): void {
    const last_error = errorLabel(error)
    this.#ended(name, { last_result: 'failed', last_error, failures: 1, failures_in_a_row: 1, troubled: true })
  }

  list(): ServiceStatus[] {
    return [...this.#services.values()].map((service) =>
      service.last_tick_at === null ? { ...service, running_ms: this.#sinceBegin(service.name) } : service,
    )
  }

  #ended(name: string, outcome: Partial<ServiceStatus>): void {
    this.#services.set(name, {
      ...this.#services.get(name)!,
      last_tick_at: this.#clock.now().toISOString(),
      last_duration_ms: this.#sinceBegin(name),
      ticks: 1,
      ...outcome,
    })
  }

  #sinceBegin(name: string): number {
    return Math.round(this.#clock.monotonicMs() - this.#begunMs.get(name)!)
  }
}
