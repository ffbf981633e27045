import type { Clock } from '../../context.ts'
import { bucketOf } from '../../lib/metrics/instruments.ts'

const maxSlots = 500
const ringSize = 100
const overflow = 'other'

/** Seconds to the head of the answer, as upper bounds of buckets. */
export const durationBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

export interface EndpointStats {
  endpoint: string
  call_count: number
  error_count: number
  total_time_ms: number
  avg_time_ms: number
  min_time_ms: number
  max_time_ms: number
  p50_ms: number
  p95_ms: number
  p99_ms: number
  status_codes: Record<string, number>
  last_called: string | null
}

/** What is known of one method and template. Recording is a few additions; figures are worked out when read. */
export class EndpointSlot {
  readonly method: string
  readonly template: string
  callCount = 0
  errorCount = 0
  failedStreams = 0
  totalMs = 0
  minMs = Infinity
  maxMs = 0
  /** On the monotonic clock. */
  lastCalledMs = 0
  readonly statusCodes = new Map<number, number>()
  /** By bucket; what took longer than the last bound is in `callCount` alone. */
  readonly buckets = new Float64Array(durationBounds.length)
  readonly #ring = new Float64Array(ringSize)

  constructor(method: string, template: string) {
    this.method = method
    this.template = template
  }

  /** `nowMs`: a reading of the monotonic clock, which costs less than a date. */
  record(status: number, durationMs: number, nowMs: number): void {
    this.#ring[this.callCount % ringSize] = durationMs
    this.callCount++
    const bucket = bucketOf(durationBounds, durationMs / 1000)
    if (bucket < durationBounds.length) this.buckets[bucket]!++
    if (status >= 400) this.errorCount++
    this.totalMs += durationMs
    if (durationMs < this.minMs) this.minMs = durationMs
    if (durationMs > this.maxMs) this.maxMs = durationMs
    this.statusCodes.set(status, (this.statusCodes.get(status) ?? 0) + 1)
    this.lastCalledMs = nowMs
  }

  #lastCalled(clock: Clock): Date {
    return new Date(clock.now().getTime() - (clock.monotonicMs() - this.lastCalledMs))
  }

  /** The answer had begun well and broke on the way. */
  streamFailed(): void {
    this.errorCount++
    this.failedStreams++
  }

  /** Nearest-rank quantiles over the last hundred calls. */
  quantiles(...fractions: number[]): number[] {
    const times = this.#ring.slice(0, Math.min(this.callCount, ringSize)).sort()
    return fractions.map((fraction) => times[Math.max(0, Math.ceil(fraction * times.length) - 1)] ?? 0)
  }

  stats(clock: Clock): EndpointStats {
    const [p50 = 0, p95 = 0, p99 = 0] = this.quantiles(0.5, 0.95, 0.99)
    return {
      endpoint: `${this.method} ${this.template}`,
      call_count: this.callCount,
      error_count: this.errorCount,
      total_time_ms: round(this.totalMs),
      avg_time_ms: round(this.callCount === 0 ? 0 : this.totalMs / this.callCount),
      min_time_ms: round(this.callCount === 0 ? 0 : this.minMs),
      max_time_ms: round(this.maxMs),
      p50_ms: round(p50),
      p95_ms: round(p95),
      p99_ms: round(p99),
      status_codes: Object.fromEntries([...this.statusCodes].map(([code, count]) => [String(code), count])),
      last_called: this.callCount === 0 ? null : this.#lastCalled(clock).toISOString(),
    }
  }
}

/** Calls of this process (on Workers: of this isolate), in memory. */
export class ApiMetrics {
  inFlight = 0
  readonly #slots = new Map<string, EndpointSlot>()
  #firstSeenMs: number | undefined

  /** Counted from the first look: on Workers no clock runs before the first request. */
  uptimeMs(clock: Clock): number {
    const nowMs = clock.monotonicMs()
    return nowMs - (this.#firstSeenMs ??= nowMs)
  }

  /** Beyond 500 keys all others share one slot, so memory is bounded and nothing goes uncounted. */
  slot(method: string, template: string): EndpointSlot {
    const key = `${method} ${template}`
    const known = this.#slots.get(key)
    if (known) return known
    if (this.#slots.size >= maxSlots - 1 && template !== overflow) return this.slot('ANY', overflow)
    const slot = new EndpointSlot(method, template)
    this.#slots.set(key, slot)
    return slot
  }

  slots(): EndpointSlot[] {
    return [...this.#slots.values()]
  }

  /** Worst first: by share of errors, then by the 95th percentile. */
  worstFirst(clock: Clock): EndpointStats[] {
    return this.slots()
      .map((slot) => slot.stats(clock))
      .toSorted((a, b) => b.error_count / b.call_count - a.error_count / a.call_count || b.p95_ms - a.p95_ms)
  }
}

const round = (ms: number) => Math.round(ms * 1000) / 1000
