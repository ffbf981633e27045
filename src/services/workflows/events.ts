import type { ServiceContext } from '../../context.ts'
import type { WorkflowState } from '../../db/tables/workflows.table.ts'
import type { JsonObject } from '../../lib/json.ts'
import { followRun, readEvents, type RunEvent } from '../runs/event-hub.ts'
import { getWorkflow } from './read-workflows.ts'
import { nextStanding, type Standing } from './standing.ts'

/** An event of one of the workflow's runs. */
export interface WorkflowRunEvent extends RunEvent {
  id: string
  execution_id: string
  purpose: 'plan' | 'run'
  /** Number of the plan that is made or carried out. */
  plan: number
}

/** Where the workflow stands: told behind the events that have led there, and whenever it changes. Only the last word has an id. */
export interface WorkflowStatusEvent {
  id: 'end' | null
  type: 'workflow.status'
  data: { status: WorkflowState; plan: number | null; attention: string[]; error: JsonObject | null }
}
export type WorkflowEvent = WorkflowRunEvent | WorkflowStatusEvent

/** What a client has seen: events of a run by its number in the workflow, or the end. */
export type Seen = { run: number; seq: number } | 'end'

export const eventIdPattern = /^(?:end|\d{1,6}\.\d{1,9})$/

export function seenUpTo(eventId: string | undefined): Seen {
  if (eventId === 'end') return 'end'
  const [run = 0, seq = 0] = (eventId ?? '').split('.').map(Number)
  return { run, seq }
}

/**
 * The events of all runs of a workflow, of its planner, its plans and the plans for the rest, one run after the other: those
 * behind `seen`, then each as it comes, until the workflow has ended. Read from rows, so it is the same in any process.
 * Null where there is nothing more to come.
 */
export async function followWorkflow(
  ctx: ServiceContext,
  id: string,
  seen: Seen,
  signal: AbortSignal,
): Promise<AsyncGenerator<WorkflowEvent> | null> {
  await getWorkflow(ctx, id)
  return seen === 'end' ? null : counted(ctx, follow(ctx, id, seen, signal))
}

async function* follow(
  ctx: ServiceContext,
  id: string,
  seen: { run: number; seq: number },
  signal: AbortSignal,
): AsyncGenerator<WorkflowEvent> {
  const signals = ctx.shutdown ? [signal, ctx.shutdown] : [signal]
  let { run, seq } = seen
  let told = ''
  let known: Standing | null = null
  for (;;) {
    const now = await nextStanding(ctx.db, id, known, signals)
    if (!now) return
    const status: WorkflowStatusEvent['data'] = {
      status: now.state,
      plan: now.plan === 0 ? null : now.plan,
      attention: now.attention ?? [],
      error: now.error,
    }
    // The first with events that the client has not seen, or may yet have.
    const next = now.runs.find(
      (each) =>
        each.number > run ||
        (each.number === run && (each.last_seq > seq || (!each.has_ended && each.is_last && !now.has_ended))),
    )
    if (!next && now.has_ended) return yield { id: 'end', type: 'workflow.status', data: status }
    // Behind what has happened, not ahead of it.
    if (!now.has_ended && !next?.has_ended && JSON.stringify(status) !== told) {
      told = JSON.stringify(status)
      yield { id: null, type: 'workflow.status', data: status }
    }
    known = next ? null : now
    if (!next) continue
    if (next.number > run) [run, seq] = [next.number, 0]
    // What a run says when it is taken up again by hand, behind the back of its workflow, is no part of what is awaited.
    const isAwaited = next.is_last && !now.has_ended
    const events = isAwaited ? followRun(ctx, next.run_id, seq, signal) : stored(ctx, next.run_id, seq, next.last_seq)
    for await (const event of events) {
      seq = event.seq
      const { run_id: execution_id, purpose, plan } = next
      yield { id: `${run}.${seq}`, execution_id, purpose, plan, ...event }
    }
  }
}

async function* stored({ db }: ServiceContext, runId: string, after: number, last: number): AsyncGenerator<RunEvent> {
  for (let seq = after; seq < last;) {
    const events = await readEvents(db, runId, seq)
    if (events.length === 0) return
    yield* events
    seq = events.at(-1)!.seq
  }
}

async function* counted<T>({ measures }: ServiceContext, events: AsyncGenerator<T>): AsyncGenerator<T> {
  if (measures) measures.eventStreams.value++
  try {
    yield* events
  } finally {
    if (measures) measures.eventStreams.value--
  }
}
