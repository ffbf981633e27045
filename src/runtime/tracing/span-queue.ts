import { TraceFlags } from '@opentelemetry/api'
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace'
import type { Log, MetricFamily } from '../../context.ts'

/** What became of a batch. `again`: the receiver was away or busy, the same batch may be taken later. */
export type Sent =
  | { kind: 'taken'; rejected: number }
  | { kind: 'refused'; detail: string }
  | { kind: 'again'; detail: string }
export type SendSpans = (spans: readonly ReadableSpan[]) => Promise<Sent>

export interface SpanQueueOptions {
  send: SendSpans
  log: Log
  /** Sends by itself after this long; without it only `flush` sends, as where no timer outlives a request. */
  everyMs?: number
}

const maxQueued = 8192
const batchSize = 512
const maxBackoffMs = 60_000

/**
 * Keeps ended spans until they are sent. It is bounded and never waits: with a receiver that is away the newest spans
 * are dropped and counted, and nobody else notices.
 */
export class SpanQueue implements SpanProcessor {
  readonly #options: SpanQueueOptions
  #spans: ReadableSpan[] = []
  #timer: ReturnType<typeof setTimeout> | null = null
  #background: Promise<void> | null = null
  #failuresInARow = 0
  #exported = 0
  #dropped = { full: 0, refused: 0 }

  constructor(options: SpanQueueOptions) {
    this.#options = options
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) === 0) return
    if (this.#spans.length >= maxQueued) {
      this.#dropped.full++
      return
    }
    this.#spans.push(span)
    const { everyMs } = this.#options
    if (everyMs === undefined) return
    if (this.#spans.length >= batchSize && this.#failuresInARow === 0) this.#sendSoon(0)
    else this.#sendSoon(Math.min(maxBackoffMs, everyMs * 2 ** Math.min(this.#failuresInARow, 10)))
  }

  /** Sends what is there, until nothing is left or the receiver does not take it. Never throws. */
  async flush(): Promise<void> {
    while (this.#spans.length > 0) if (!(await this.#sendBatch())) return
  }

  /** The last sending: what cannot be sent now is lost with the process. */
  async shutdown(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#background
    await this.flush()
  }

  forceFlush(): Promise<void> {
    return this.flush()
  }

  metrics(): MetricFamily[] {
    return [
      {
        name: 'automatos_trace_spans_exported_total',
        help: 'Spans that the trace receiver took.',
        type: 'counter',
        samples: [{ value: this.#exported }],
      },
      {
        name: 'automatos_trace_spans_dropped_total',
        help: 'Spans that were lost: the queue was full, or the receiver refused them.',
        type: 'counter',
        samples: Object.entries(this.#dropped).map(([reason, value]) => ({ labels: { reason }, value })),
      },
      {
        name: 'automatos_trace_spans_queued',
        help: 'Ended spans that are not sent yet.',
        type: 'gauge',
        samples: [{ value: this.#spans.length }],
      },
    ]
  }

  #sendSoon(delayMs: number): void {
    if (this.#background !== null) return
    if (this.#timer !== null) {
      if (delayMs > 0) return
      clearTimeout(this.#timer)
    }
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#background = this.flush().finally(() => {
        this.#background = null
        if (this.#spans.length > 0)
          this.#sendSoon(Math.min(maxBackoffMs, this.#options.everyMs! * 2 ** this.#failuresInARow))
      })
    }, delayMs)
    // Spans alone keep no process alive. Workers' timers are numbers and have no such thing.
    ;(this.#timer as { unref?: () => void }).unref?.()
  }

  /** True when the receiver took the batch or will never take it: go on. */
  async #sendBatch(): Promise<boolean> {
    const batch = this.#spans.splice(0, batchSize)
    const sent = await this.#options
      .send(batch)
      .catch((error: unknown): Sent => ({ kind: 'again', detail: String(error) }))
    if (sent.kind === 'taken') {
      this.#exported += batch.length - sent.rejected
      this.#dropped.refused += sent.rejected
      if (this.#failuresInARow > 0) this.#options.log.info('Traces are sent again.')
      this.#failuresInARow = 0
      return true
    }
    // One line an outage: a receiver that is away fails every few seconds.
    if (this.#failuresInARow === 0) this.#options.log.warn('Traces could not be sent.', { detail: sent.detail })
    this.#failuresInARow = Math.min(this.#failuresInARow + 1, 16)
    if (sent.kind === 'refused') {
      this.#dropped.refused += batch.length
      return true
    }
    const room = Math.max(0, maxQueued - this.#spans.length)
    this.#dropped.full += Math.max(0, batch.length - room)
    this.#spans.unshift(...batch.slice(0, room))
    return false
  }
}
