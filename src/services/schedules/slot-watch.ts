import { ROOT_CONTEXT, SpanKind, trace, type Span } from '@opentelemetry/api'
import type { Runtime } from '../../context.ts'
import type { Admission } from '../runs/concurrency/admit.ts'
import type { NewRun } from '../runs/create-run.ts'
import { traceRun } from '../runs/run-trace.ts'
import type { SlotStatus } from './types.ts'

/**
 * Sees what a pass decides and tells of it once its transaction has committed: what is rolled back has not happened.
 * Each fired slot begins a trace of its own, which its run carries on.
 */
export class SlotWatch {
  readonly #runtime: Pick<Runtime, 'tracing' | 'clock' | 'measures'>
  readonly #fired: { runId: string; lagMs: number | null; span: Span | null }[] = []
  /** Runs that nobody held and that had to end for a later slot. */
  readonly canceled: string[] = []
  readonly #slots = new Map<SlotStatus, number>()

  constructor(runtime: Pick<Runtime, 'tracing' | 'clock' | 'measures'>) {
    this.#runtime = runtime
  }

  /** `lagMs`: how long after its time; null for a slot that was held back on purpose. Returns the run with its trace. */
  firing(run: NewRun, lagMs: number | null): NewRun {
    const { tracing, clock, measures } = this.#runtime
    if (!tracing && !measures) return run
    const span = tracing?.tracer.startSpan('schedule.fire', {
      root: true,
      kind: SpanKind.PRODUCER,
      attributes: {
        'automatos.schedule.id': run.scheduleId ?? '',
        'automatos.workspace.id': run.workspaceId,
        'automatos.schedule.slot_at': run.slotAt?.toISOString() ?? '',
        'automatos.run.id': run.id,
        ...(lagMs !== null && { 'automatos.schedule.lag_ms': lagMs }),
      },
    })
    this.#fired.push({ runId: run.id, lagMs, span: span ?? null })
    if (!span) return run
    return { ...run, traceContext: traceRun({ tracing, clock, trace: trace.setSpan(ROOT_CONTEXT, span) }) }
  }

  accounted(status: SlotStatus, count: number): void {
    this.#slots.set(status, (this.#slots.get(status) ?? 0) + count)
  }

  /** What became of runs that were to start, by the limits of their recipes. */
  admitted({ ended, skipped }: Admission): void {
    this.canceled.push(...ended)
    if (skipped.size === 0) return
    this.accounted('fired', -skipped.size)
    this.accounted('skipped', skipped.size)
  }

  /** `started`: the runs that were made; a slot that another process had fired before made none. */
  committed(started: readonly string[]): void {
    const made = new Set(started)
    const { measures } = this.#runtime
    for (const { runId, lagMs, span } of this.#fired) {
      if (!made.has(runId)) continue
      if (lagMs !== null) measures?.scheduleLag.observe(Math.max(0, lagMs) / 1000)
      span?.end()
    }
    for (const [status, count] of this.#slots) measures?.scheduleSlots.add(count, status)
  }
}
