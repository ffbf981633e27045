import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { WorkflowState } from '../../db/tables/workflows.table.ts'
import { readPause, type Pause } from './pause.ts'

interface Spread {
  p50: number | null
  p95: number | null
}

/** Measured, never estimated: null where nothing was measured. */
export interface WorkflowStats {
  days: number
  paused: Pause | null
  total: number
  by_status: Record<WorkflowState, number>
  /** Of those that succeeded or failed, between 0 and 1. */
  success_rate: number | null
  /** From the goal to the first plan. */
  planning_ms: Spread
  /** From the goal to the end, waits for approval included; of those that succeeded. */
  duration_ms: Spread
  /** Plans that were made because a step had failed. */
  replans: number
  edited_plans: number
  /** Steps of the first plan, nested ones not counted. */
  mean_steps: number | null
  /** Exact decimal; null also when the cost of any call is unknown. */
  cost_usd: string | null
  today: { created: number; succeeded: number; failed: number; canceled: number }
  trend: { day: string; created: number; succeeded: number; failed: number; canceled: number }[]
}

/** Days are those of UTC. */
export async function workflowStats(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  days: number,
): Promise<WorkflowStats> {
  const workspaceId = actor.workspaceId
  const { rows } = await sql<Totals>`
    with mine as (
      select * from workflows
      where workspace_id = ${workspaceId} and created_at > app_now() - make_interval(days => ${days}::integer)
    ), plans as (
      select p.*, jsonb_array_length(v.definition -> 'steps') as steps from workflow_plans p
      join mine on mine.id = p.workflow_id
      join recipe_versions v on v.recipe_id = p.recipe_id and v.version = p.recipe_version
    ), times as (
      select extract(epoch from (select min(p.created_at) from plans p where p.workflow_id = m.id and p.source = 'planner')
          - m.created_at) * 1000 as planning,
        case when m.state = 'succeeded' then extract(epoch from m.finished_at - m.created_at) * 1000 end as whole
      from mine m
    )
    select
      (select count(*)::integer from mine) as total,
      (select coalesce(jsonb_object_agg(state, n), '{}') from (select state, count(*)::integer as n from mine group by state) s)
        as by_status,
      (select percentile_cont(0.5) within group (order by planning) from times) as planning_p50,
      (select percentile_cont(0.95) within group (order by planning) from times) as planning_p95,
      (select percentile_cont(0.5) within group (order by whole) from times) as whole_p50,
      (select percentile_cont(0.95) within group (order by whole) from times) as whole_p95,
      (select coalesce(sum(replans), 0)::integer from mine) as replans,
      (select count(*)::integer from plans where source = 'edit') as edited_plans,
      (select avg(steps)::float8 from plans where number = 1) as mean_steps,
      (select case when bool_or(cost_unknown) then null else trim_scale(sum(cost_usd))::text end from mine) as cost_usd,
      to_char(app_now() at time zone 'UTC', 'YYYY-MM-DD') as today`.execute(db)
  const totals = rows[0]!
  const trend = await sql<WorkflowStats['trend'][number]>`
    with ends as (
      select to_char(created_at at time zone 'UTC', 'YYYY-MM-DD') as day, 'created' as what from workflows
      where workspace_id = ${workspaceId} and created_at > app_now() - make_interval(days => ${days}::integer)
      union all
      select to_char(finished_at at time zone 'UTC', 'YYYY-MM-DD'), state from workflows
      where workspace_id = ${workspaceId} and finished_at > app_now() - make_interval(days => ${days}::integer)
    )
    select day, count(*) filter (where what = 'created')::integer as created,
      count(*) filter (where what = 'succeeded')::integer as succeeded,
      count(*) filter (where what = 'failed')::integer as failed,
      count(*) filter (where what = 'canceled')::integer as canceled
    from ends group by day order by day`.execute(db)
  const today = trend.rows.find(({ day }) => day === totals.today)
  const count = (state: WorkflowState) => totals.by_status[state] ?? 0
  const judged = count('succeeded') + count('failed')
  return {
    days,
    paused: await readPause(db, workspaceId),
    total: totals.total,
    by_status: {
      planning: count('planning'),
      awaiting_approval: count('awaiting_approval'),
      running: count('running'),
      succeeded: count('succeeded'),
      failed: count('failed'),
      canceled: count('canceled'),
    },
    success_rate: judged === 0 ? null : count('succeeded') / judged,
    planning_ms: { p50: rounded(totals.planning_p50), p95: rounded(totals.planning_p95) },
    duration_ms: { p50: rounded(totals.whole_p50), p95: rounded(totals.whole_p95) },
    replans: totals.replans,
    edited_plans: totals.edited_plans,
    mean_steps: totals.mean_steps,
    cost_usd: totals.cost_usd,
    today: {
      created: today?.created ?? 0,
      succeeded: today?.succeeded ?? 0,
      failed: today?.failed ?? 0,
      canceled: today?.canceled ?? 0,
    },
    trend: trend.rows,
  }
}

interface Totals {
  total: number
  by_status: Partial<Record<WorkflowState, number>>
  planning_p50: number | null
  planning_p95: number | null
  whole_p50: number | null
  whole_p95: number | null
  replans: number
  edited_plans: number
  mean_steps: number | null
  cost_usd: string | null
  today: string
}

const rounded = (ms: number | null): number | null => (ms === null ? null : Math.round(Number(ms)))
