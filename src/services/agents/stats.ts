import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { getAgent } from './find.ts'

/** Measured, never estimated: null where nothing was measured. */
export interface AgentStats {
  agent_id: string
  days: number
  /** Agent steps that asked a model, retries within a step not counted again. */
  runs: number
  succeeded: number
  failed: number
  /** Of the steps that succeeded or failed, between 0 and 1. */
  success_rate: number | null
  /** From the beginning of a step to its end, waits for retries included. */
  latency_ms: { p50: number | null; p95: number | null }
  model_calls: number
  failed_model_calls: number
  tokens: { input: number | null; cached_input: number | null; output: number | null; reasoning: number | null }
  /** Exact decimal; null also when the cost of any answer is unknown. */
  cost_usd: string | null
}

export async function agentStats(
  ctx: Pick<ServiceContext, 'db' | 'actor'>,
  ref: string,
  days: number,
): Promise<AgentStats> {
  const agent = await getAgent(ctx, ref)
  const { rows } = await sql<StatsRow>`
    with calls as (
      select * from model_usage
      where workspace_id = ${ctx.actor.workspaceId} and agent_id = ${agent.id}
        and created_at > app_now() - make_interval(days => ${days}::int)
    ), steps as (
      select s.status, extract(epoch from s.finished_at - s.started_at) * 1000 as ms
      from (select distinct run_id, step_path from calls where run_id is not null) c
      join run_steps s on s.run_id = c.run_id and s.path = c.step_path
    )
    select
      (select count(*)::int from steps) as runs,
      (select count(*)::int from steps where status = 'succeeded') as succeeded,
      (select count(*)::int from steps where status = 'failed') as failed,
      (select percentile_cont(0.5) within group (order by ms) from steps where status in ('succeeded', 'failed')) as p50,
      (select percentile_cont(0.95) within group (order by ms) from steps where status in ('succeeded', 'failed')) as p95,
      (select count(*)::int from calls) as model_calls,
      (select count(*)::int from calls where status = 'error') as failed_model_calls,
      (select sum(input_tokens)::float8 from calls) as input,
      (select sum(cached_input_tokens)::float8 from calls) as cached_input,
      (select sum(output_tokens)::float8 from calls) as output,
      (select sum(reasoning_tokens)::float8 from calls) as reasoning,
      (select case when bool_or(cost_usd is null) then null else trim_scale(sum(cost_usd))::text end
        from calls where status = 'ok') as cost_usd`.execute(ctx.db)
  const row = rows[0]!
  const finished = row.succeeded + row.failed
  return {
    agent_id: agent.id,
    days,
    runs: row.runs,
    succeeded: row.succeeded,
    failed: row.failed,
    success_rate: finished === 0 ? null : row.succeeded / finished,
    latency_ms: { p50: rounded(row.p50), p95: rounded(row.p95) },
    model_calls: row.model_calls,
    failed_model_calls: row.failed_model_calls,
    tokens: { input: row.input, cached_input: row.cached_input, output: row.output, reasoning: row.reasoning },
    cost_usd: row.cost_usd,
  }
}

interface StatsRow {
  runs: number
  succeeded: number
  failed: number
  p50: number | null
  p95: number | null
  model_calls: number
  failed_model_calls: number
  input: number | null
  cached_input: number | null
  output: number | null
  reasoning: number | null
  cost_usd: string | null
}

const rounded = (ms: number | null): number | null => (ms === null ? null : Math.round(ms))
