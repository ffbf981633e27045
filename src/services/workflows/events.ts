import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { WorkflowState } from '../../db/tables/workflows.table.ts'
import type { JsonObject } from '../../lib/json.ts'
import { followRun, readEvents, type RunEvent } from '../runs/event-hub.ts'
import { getWorkflow } from './read-workflows.ts'

/** How soon the next run, an approval or the end is seen while no run tells of itself. */
const pollMs = 500

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
  let { run, seq } = seen
  let told = ''
  const over = () => signal.aborted || ctx.shutdown?.aborted
  while (!over()) {
    const now = await look(ctx, id, run, seq)
    // Somebody has deleted it.
    if (!now) return
    const status: WorkflowStatusEvent['data'] = {
      status: now.state,
      plan: now.plan === 0 ? null : now.plan,
      attention: now.attention ?? [],
      error: now.error,
    }
    const { next } = now
    if (!next && now.has_ended) return yield { id: 'end', type: 'workflow.status', data: status }
    // Behind what has happened, not ahead of it.
    if (!now.has_ended && !next?.has_ended && JSON.stringify(status) !== told) {
      told = JSON.stringify(status)
      yield { id: null, type: 'workflow.status', data: status }
    }
    if (!next) {
      await pause(pollMs, signal)
      continue
    }
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

interface Look {
  state: WorkflowState
  has_ended: boolean
  plan: number
  attention: string[] | null
  error: JsonObject | null
  /** The first run with events that the client has not seen, or may yet have; null: there is none. */
  next: {
    number: number
    run_id: string
    purpose: 'plan' | 'run'
    plan: number
    last_seq: number
    is_last: boolean
    has_ended: boolean
  } | null
}

async function look({ db, actor }: ServiceContext, id: string, run: number, seq: number): Promise<Look | null> {
  const { rows } = await sql<Look>`
    select w.state, w.finished_at is not null as has_ended, w.plan, p.attention, w.error, n.next
    from workflows w
    left join workflow_plans p on p.workflow_id = w.id and p.number = w.plan
    left join lateral (
      select jsonb_build_object('number', l.number, 'run_id', r.id, 'purpose', r.trigger -> 'purpose',
        'plan', r.trigger -> 'plan', 'last_seq', r.last_seq, 'is_last', l.is_last, 'has_ended', r.finished_at is not null) as next
      from (
        select number, run_id, number = max(number) over () as is_last from workflow_runs
        where workflow_id = w.id
      ) l join runs r on r.id = l.run_id
      where l.number > ${run}::integer or (l.number = ${run}::integer
        and (r.last_seq > ${seq}::integer or (r.finished_at is null and l.is_last and w.finished_at is null)))
      order by l.number limit 1
    ) n on true
    where w.workspace_id = ${actor.workspaceId} and w.id = ${id}`.execute(db)
  return rows[0] ?? null
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

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
    if (signal.aborted) done()
  })
}
