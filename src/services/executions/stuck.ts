import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import { engineVersion } from '../runs/claim.ts'

/** Executions named with each finding; the count is of all. */
const mostNamed = 20

/** Findings that a look at few rows gives: what is leased, queued, overdue, and open children. */
const always = {
  lease_expired: 'Running, and its lease has run out by the clock of the database. The recovery gives it back.',
  lease_missing: 'Running, and nobody holds a lease. It must not be so.',
  recovering: 'Taken back from a dead worker, and no step of it has ended since.',
  wait_overdue: 'Waiting, and the time that it waits for is past. The next tick moves it to the queue.',
  unknown_engine: 'Ready, and written by an engine that this one does not know: a newer worker has to take it.',
  stray_queue_row: 'In the queue, and in a state in which no worker takes it. It must not be so.',
  orphaned: 'Not ended, and the execution whose step started it has ended without it, or is gone.',
} as const
/** Findings for which the executions of a window are gone through. */
const inWindow = {
  not_in_queue: 'Queued, and neither in the queue nor held back for a time or its workspace: no worker will find it.',
  not_in_line: 'Blocked, and in no line for a slot. The next look at the slots moves it to the queue.',
  not_waiting: 'Waiting, and nothing is stored that would wake it.',
  command_left: 'A command waits in its inbox, and it is not in the queue for somebody to read it.',
} as const
export type FindingKind = keyof typeof always | keyof typeof inWindow
export const findingKinds = [...Object.keys(always), ...Object.keys(inWindow)] as [FindingKind, ...FindingKind[]]

interface FoundRow {
  finding: FindingKind
  id: string
  state: RunState
  /** The fact's own time: end of the lease, due time. */
  at: Date | null
  by_ms: number | null
  owner: string | null
  total: number
}

/**
 * What is stuck or orphaned, by the database's own facts: leases, due times and rows that contradict each other. Nothing is
 * found for its age alone: an execution that waits for a year waits well.
 */
export async function findStuck({ db, actor }: ServiceContext, { days }: { days: number }) {
  const workspace = actor.workspaceId
  const { rows } = await sql<FoundRow & { now: Date }>`
    with found as (
      select 'lease_expired' as finding, r.id, r.state, r.lease_until as at, r.lease_owner as owner from runs r
      where r.state = 'running' and r.workspace_id = ${workspace} and r.lease_until < app_now()
      union all
      select 'lease_missing', r.id, r.state, null, r.lease_owner from runs r
      where r.state = 'running' and r.workspace_id = ${workspace} and r.lease_until is null
      union all
      select 'recovering', r.id, r.state, null, r.lease_owner from runs r
      where r.state = 'running' and r.workspace_id = ${workspace} and r.recoveries > 0
      union all
      select 'recovering', r.id, r.state, null, null from run_queue q join runs r on r.id = q.run_id
      where q.workspace_id = ${workspace} and r.recoveries > 0
      union all
      select distinct on (r.id) 'wait_overdue', r.id, r.state, w.wake_at, null from waits w join runs r on r.id = w.run_id
      where w.wake_at < app_now() and w.workspace_id = ${workspace} and r.state = 'waiting'
        and not exists (select from run_queue q where q.run_id = r.id)
      union all
      select 'unknown_engine', r.id, r.state, q.ready_at, null from run_queue q join runs r on r.id = q.run_id
      where q.workspace_id = ${workspace} and r.engine_version > ${engineVersion}
      union all
      select 'stray_queue_row', r.id, r.state, q.ready_at, null from run_queue q join runs r on r.id = q.run_id
      where q.workspace_id = ${workspace} and r.state not in ('queued', 'waiting')
      union all
      select 'orphaned', r.id, r.state, p.finished_at, null from runs r left join runs p on p.id = r.parent_run_id
      where r.parent_run_id is not null and r.state not in ('succeeded', 'failed', 'canceled', 'timed_out')
        and r.workspace_id = ${workspace} and (p.id is null or p.state in ('failed', 'canceled', 'timed_out'))
      union all
      select case r.state when 'queued' then 'not_in_queue' when 'blocked' then 'not_in_line' else 'not_waiting' end,
        r.id, r.state, null, null from runs r
      where r.workspace_id = ${workspace} and r.created_at > app_now() - ${days} * interval '1 day'
        and r.state in ('queued', 'blocked', 'waiting') and not exists (select from run_queue q where q.run_id = r.id)
        and not exists (select from held_runs h where h.run_id = r.id)
        and not (r.state = 'waiting' and exists (select from waits w where w.run_id = r.id))
      union all
      select 'command_left', r.id, r.state, null, null from runs r
      where r.workspace_id = ${workspace} and r.created_at > app_now() - ${days} * interval '1 day'
        and r.state = 'waiting' and r.pending_commands > 0
        and not exists (select from run_queue q where q.run_id = r.id)
        and not exists (select from held_runs h where h.run_id = r.id)
    ), numbered as (
      select f.*, row_number() over (partition by finding order by at nulls last, id) as n,
        count(*) over (partition by finding)::integer as total
      from found f
    )
    select finding, id, state, at::timestamptz(3) as at, owner, total, app_now()::timestamptz(3) as now,
      (extract(epoch from app_now() - at) * 1000)::double precision as by_ms
    from numbered where n <= ${mostNamed} order by finding, n`.execute(db)
  const checkedAt = rows[0]?.now ?? (await databaseNow(db))
  return {
    checked_at: checkedAt.toISOString(),
    window_days: days,
    findings: findingKinds.map((kind) => {
      const of = rows.filter(({ finding }) => finding === kind)
      return {
        kind,
        description: { ...always, ...inWindow }[kind],
        count: of[0]?.total ?? 0,
        executions: of.map(({ id, state, at, by_ms, owner }) => ({
          id,
          status: state,
          at: at?.toISOString() ?? null,
          overdue_ms: by_ms === null ? null : Math.max(0, Math.round(by_ms)),
          worker: owner,
        })),
      }
    }),
  }
}

async function databaseNow(db: ServiceContext['db']): Promise<Date> {
  const { rows } = await sql<{ now: Date }>`select app_now()::timestamptz(3) as now`.execute(db)
  return rows[0]!.now
}
