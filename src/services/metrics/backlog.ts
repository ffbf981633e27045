import { sql } from 'kysely'
import type { Log, MetricFamily, Runtime } from '../../context.ts'

/** Scrapes within this time share one look, so that no number of them loads the database. */
const freshForMs = 5_000
/** A scraper waits ten seconds by default; what the process itself counts must reach it in any case. */
const answerWithinMs = 2_000
/** Counting ends here: a queue of ten thousand is long, and a longer one must not be made slower by being counted. */
const most = 10_000

const holds = ['slot', 'debounce', 'throttle', 'paused'] as const

interface Row {
  ready: number
  ready_age: number
  waiting: number
  held: { [reason: string]: number }
  leased: number
  expired: number
  overdue: number
}

/**
 * What waits in the database, for all processes together. Each count is bounded; where the database does not answer in
 * time the series are missing for a while, for nothing that is not measured is told.
 */
export function createBacklog(): (runtime: Runtime) => Promise<MetricFamily[]> {
  let known: MetricFamily[] = []
  let readAtMs = -Infinity
  return async (runtime) => {
    const nowMs = runtime.clock.monotonicMs()
    if (nowMs - readAtMs < freshForMs) return known
    readAtMs = nowMs
    const row = await inTime(readRow(runtime), runtime.log)
    known = row ? toFamilies(row) : []
    return known
  }
}

async function readRow({ db }: Runtime): Promise<Row> {
  const { rows } = await sql<Row>`
    select
      (select count(*) from (select from run_queue limit ${most}) q)::integer as ready,
      coalesce(extract(epoch from app_now() - (
        select min(ready_at) from (select ready_at from run_queue order by run_id limit 1000) q)), 0)::double precision as ready_age,
      (select count(distinct run_id) from (select run_id from waits limit ${most}) w)::integer as waiting,
      (select coalesce(jsonb_object_agg(reason, count), '{}') from (
        select reason, count(*) from (select reason from held_runs limit ${most}) h group by reason) byReason) as held,
      l.leased, l.expired,
      greatest(0, coalesce(extract(epoch from app_now() - (
        select min(next_fire_at) from schedules where next_fire_at is not null)), 0))::double precision as overdue
    from (
      select count(*)::integer as leased, (count(*) filter (where lease_until < app_now()))::integer as expired
      from (select lease_until from runs where state = 'running' limit ${most}) r) l`.execute(db)
  return rows[0]!
}

async function inTime(reading: Promise<Row>, log: Log): Promise<Row | null> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const silence = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), answerWithinMs)
  })
  try {
    return await Promise.race([reading, silence])
  } catch (error) {
    log.warn('The backlog could not be read for the metrics.', { error })
    return null
  } finally {
    clearTimeout(timer)
    reading.catch(() => {})
  }
}

function toFamilies(row: Row): MetricFamily[] {
  const gauge = (name: string, help: string, value: number): MetricFamily => ({
    name,
    help,
    type: 'gauge',
    samples: [{ value }],
  })
  return [
    gauge('automatos_runs_ready', `Runs that a worker could take now, counted up to ${most}.`, row.ready),
    gauge(
      'automatos_runs_ready_oldest_seconds',
      'Age of the longest ready among the thousand oldest runs that are ready; 0 without any.',
      Math.max(0, row.ready_age),
    ),
    gauge('automatos_runs_waiting', `Runs that wait for a time, counted up to ${most}.`, row.waiting),
    {
      name: 'automatos_runs_held',
      help: `Runs beside the queue, counted up to ${most}: blocked for a slot, put off by debounce or throttle, of a paused workspace.`,
      type: 'gauge',
      samples: holds.map((reason) => ({ labels: { reason }, value: row.held[reason] ?? 0 })),
    },
    {
      name: 'automatos_leases',
      help: `Runs under a lease, counted up to ${most}; expired ones await recovery.`,
      type: 'gauge',
      samples: [
        { labels: { state: 'held' }, value: row.leased - row.expired },
        { labels: { state: 'expired' }, value: row.expired },
      ],
    },
    gauge(
      'automatos_schedule_overdue_seconds',
      'How long the most overdue schedule has been due; 0 without any.',
      row.overdue,
    ),
  ]
}
