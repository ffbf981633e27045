import { sql, type RawBuilder } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import { AppError } from '../../lib/errors.ts'
import { recipeIdOf } from './find.ts'

export interface StatsRequest {
  from?: string | undefined
  to?: string | undefined
  /** Id or slug. */
  recipe?: string | undefined
}

const dayMs = 24 * 3600_000
const longestWindowDays = 93
/** Longer windows are told by day. */
const mostHours = 72
const mostRecipes = 20
const states: readonly RunState[] = [
  'queued',
  'blocked',
  'running',
  'waiting',
  'paused',
  'succeeded',
  'failed',
  'canceled',
  'timed_out',
]

interface Spread {
  p50: number | null
  p95: number | null
  max: number | null
}
interface Totals {
  total: number
  succeeded: number
  failed: number
  retries: number
  model_calls: number
  input_tokens: number
  output_tokens: number
  cost_usd: string | null
  unknown_cost: number
  duration_p50: number | null
  duration_p95: number | null
  duration_max: number | null
  queue_p50: number | null
  queue_p95: number | null
  queue_max: number | null
}

/**
 * What the executions of a window came to, counted from their rows. What was not measured is null: no duration where none
 * has ended, no sum of costs where one of them is unknown.
 */
export async function executionStats(ctx: ServiceContext, request: StatsRequest) {
  const { db, actor } = ctx
  const recipeId = request.recipe === undefined ? null : await recipeIdOf(ctx, request.recipe)
  const { from, to, now } = await windowOf(ctx, request)
  const bucket = to.getTime() - from.getTime() <= mostHours * 3600_000 ? 'hour' : 'day'
  const picked = sql`
    select * from runs where workspace_id = ${actor.workspaceId}
      and created_at >= ${from.toISOString()}::text::timestamptz and created_at < ${to.toISOString()}::text::timestamptz
      ${recipeId === null ? sql`` : sql`and recipe_id = ${recipeId}`}`
  const held = (which: RawBuilder<unknown>) => sql`(
    select count(*)::integer from held_runs h
    ${recipeId === null ? sql`` : sql`join runs r on r.id = h.run_id and r.recipe_id = ${recipeId}`}
    where h.workspace_id = ${actor.workspaceId} and ${which})`
  const [totals, byState, byTrigger, byRecipe, series, present] = await Promise.all([
    sql<Totals>`select ${totalColumns} from (${picked}) r`.execute(db),
    sql<{ state: RunState; count: number }>`
      select state, count(*)::integer as count from (${picked}) r group by state`.execute(db),
    sql<{ trigger: string; count: number }>`
      select coalesce(trigger ->> 'kind', 'unknown') as trigger, count(*)::integer as count
      from (${picked}) r group by 1 order by 2 desc, 1 limit 20`.execute(db),
    sql<Totals & { recipe_id: string | null; slug: string | null; name: string | null }>`
      select r.recipe_id, min(w.slug) as slug, min(w.name) as name, ${totalColumns}
      from (${picked}) r left join workflow_recipes w on w.id = r.recipe_id
      group by r.recipe_id order by count(*) desc, r.recipe_id limit ${mostRecipes}`.execute(db),
    sql<{ at: Date; total: number; succeeded: number; failed: number }>`
      select date_trunc(${bucket}, created_at, 'UTC') as at, count(*)::integer as total,
        (count(*) filter (where state = 'succeeded'))::integer as succeeded,
        (count(*) filter (where state in ('failed', 'timed_out')))::integer as failed
      from (${picked}) r group by 1 order by 1`.execute(db),
    sql<{ ready: number; oldest_ready_ms: number | null; running: number; blocked: number; delayed: number }>`
      select count(*)::integer as ready,
        (extract(epoch from app_now() - min(q.ready_at)) * 1000)::double precision as oldest_ready_ms,
        (select count(*)::integer from runs r where r.state = 'running' and r.workspace_id = ${actor.workspaceId}
          ${recipeId === null ? sql`` : sql`and r.recipe_id = ${recipeId}`}) as running,
        ${held(sql`h.reason = 'slot'`)} as blocked, ${held(sql`h.reason in ('debounce', 'throttle')`)} as delayed
      from run_queue q ${recipeId === null ? sql`` : sql`join runs r on r.id = q.run_id and r.recipe_id = ${recipeId}`}
      where q.workspace_id = ${actor.workspaceId}`.execute(db),
  ])
  const counts = new Map(byState.rows.map(({ state, count }) => [state, count]))
  const atPresent = present.rows[0]!
  return {
    from: from.toISOString(),
    to: to.toISOString(),
    measured_at: now.toISOString(),
    ...toFigures(totals.rows[0]!),
    by_status: Object.fromEntries(states.map((state) => [state, counts.get(state) ?? 0])) as Record<RunState, number>,
    by_trigger: byTrigger.rows,
    by_recipe: byRecipe.rows.map(({ recipe_id, slug, name, ...rest }) => ({
      recipe_id,
      slug,
      name,
      ...toFigures(rest),
    })),
    bucket,
    series: series.rows.map(({ at, ...rest }) => ({ at: at.toISOString(), ...rest })),
    now: {
      ready: atPresent.ready,
      oldest_ready_ms: atPresent.oldest_ready_ms === null ? null : Math.max(0, Math.round(atPresent.oldest_ready_ms)),
      running: atPresent.running,
      blocked: atPresent.blocked,
      delayed: atPresent.delayed,
    },
  }
}

const milliseconds = (from: string, to: string) => sql.raw<number>(`extract(epoch from r.${to} - r.${from}) * 1000`)
const percentile = (part: number, value: RawBuilder<number>, where: string) =>
  sql`percentile_cont(${sql.lit(part)}) within group (order by ${value}) filter (where ${sql.raw(where)})::double precision`
const took = milliseconds('started_at', 'finished_at')
const queued = milliseconds('created_at', 'started_at')
const hasEnded = 'r.started_at is not null and r.finished_at is not null'
/** A replay or retry begins later than its first start; the wait of the first claim is what is told. */
const hasStarted = 'r.started_at is not null'
const summed = (name: string) => sql`coalesce(sum((r.usage ->> ${sql.lit(name)})::bigint), 0)::double precision`

const totalColumns = sql`
  count(*)::integer as total,
  (count(*) filter (where r.state = 'succeeded'))::integer as succeeded,
  (count(*) filter (where r.state in ('failed', 'timed_out')))::integer as failed,
  coalesce(sum(r.generation - 1), 0)::integer as retries,
  ${summed('model_calls')} as model_calls, ${summed('input_tokens')} as input_tokens,
  ${summed('output_tokens')} as output_tokens,
  case when count(*) filter (where r.usage -> 'cost_usd' = 'null') = 0
    then coalesce(sum((r.usage ->> 'cost_usd')::numeric), 0)::text end as cost_usd,
  (count(*) filter (where r.usage -> 'cost_usd' = 'null'))::integer as unknown_cost,
  ${percentile(0.5, took, hasEnded)} as duration_p50, ${percentile(0.95, took, hasEnded)} as duration_p95,
  (max(${took}) filter (where ${sql.raw(hasEnded)}))::double precision as duration_max,
  ${percentile(0.5, queued, hasStarted)} as queue_p50, ${percentile(0.95, queued, hasStarted)} as queue_p95,
  (max(${queued}) filter (where ${sql.raw(hasStarted)}))::double precision as queue_max`

function toFigures(row: Totals) {
  const decided = row.succeeded + row.failed
  const { total, succeeded, failed, retries } = row
  return {
    total,
    succeeded,
    failed,
    retries,
    success_rate: decided === 0 ? null : Number((succeeded / decided).toFixed(4)),
    duration_ms: spread(row.duration_p50, row.duration_p95, row.duration_max),
    queue_ms: spread(row.queue_p50, row.queue_p95, row.queue_max),
    usage: {
      model_calls: row.model_calls,
      input_tokens: row.input_tokens,
      output_tokens: row.output_tokens,
      cost_usd: row.cost_usd,
      executions_of_unknown_cost: row.unknown_cost,
    },
  }
}

const rounded = (value: number | null) => (value === null ? null : Math.max(0, Math.round(value)))
const spread = (p50: number | null, p95: number | null, max: number | null): Spread => ({
  p50: rounded(p50),
  p95: rounded(p95),
  max: rounded(max),
})

/** By the database's clock; without bounds the last day. */
async function windowOf({ db }: ServiceContext, request: StatsRequest): Promise<{ from: Date; to: Date; now: Date }> {
  const { rows } = await sql<{ now: Date }>`select app_now()::timestamptz(3) as now`.execute(db)
  const now = rows[0]!.now
  // What is created in this very millisecond is in the window, too.
  const to = request.to === undefined ? new Date(now.getTime() + 1) : new Date(request.to)
  const from = request.from === undefined ? new Date(to.getTime() - dayMs) : new Date(request.from)
  const detail =
    from >= to
      ? 'must be before the end of the window'
      : to.getTime() - from.getTime() > longestWindowDays * dayMs
        ? `must be at most ${longestWindowDays} days before the end of the window`
        : null
  if (detail !== null)
    throw new AppError('invalid', 'The window is not one that can be told of.', {
      errors: [{ pointer: '/query/from', detail }],
    })
  return { from, to, now }
}
