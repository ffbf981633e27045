import { sql } from 'kysely'
import type { Runtime, TickReport } from '../../context.ts'
import { countedDelete } from './figures.ts'
import { effectiveDays } from './policy.ts'

const mostRuns = 100
/** Events of all runs of a pass together: a measure of their steps and calls, which go with them. One run may have more. */
const mostEvents = 20_000

/**
 * Deletes runs that ended long enough ago; triggers take along what belongs to them and note the bytes that are to go.
 * Kept are those that others still look at: a parent of open runs, a child of an open one, all runs of an open workflow and
 * what is below them, an end that is not told or taken up yet by whoever waits for it, and the last success of a schedule or
 * state key, which is what `previous` shows.
 */
export async function expireRuns({ db, config }: Pick<Runtime, 'db' | 'config'>): Promise<TickReport> {
  const old = sql`app_now() - ${effectiveDays('executions_days', config)} * interval '1 day'`
  const done = await countedDelete(db, 'executions', {
    before: sql`
      candidates as materialized (
        select r.* from workspaces w
        left join retention_policies p on p.workspace_id = w.id
        cross join lateral (
          select id, workspace_id, created_at, last_seq from runs r
          where r.workspace_id = w.id and r.created_at <= ${old} and r.finished_at <= ${old}
            and r.state in ('succeeded', 'failed', 'canceled', 'timed_out')
            and (r.announced_generation is null or r.announced_generation >= r.generation)
            and not exists (select from child_ends e where e.run_id = r.id)
            and not exists (select from workflows f where f.run_id = r.id and f.state in ('planning', 'running'))
            and not exists (select from workflows f where f.finished_at is null
              and f.id = case r.trigger ->> 'kind' when 'workflow' then (r.trigger ->> 'workflow_id')::uuid end)
            and not exists (select from runs t join workflows f on f.finished_at is null
                and f.id = case t.trigger ->> 'kind' when 'workflow' then (t.trigger ->> 'workflow_id')::uuid end
              where t.id = case when r.trigger ->> 'kind' in ('recipe', 'on_failure') then (r.trigger ->> 'root')::uuid end)
            and not exists (select from replay_runs q join replays l on l.id = q.replay_id
              where q.run_id = r.id and q.state = 'pending' and l.state in ('queued', 'running'))
            and not exists (select from schedule_backfill_runs b where b.run_id = r.id)
            and not exists (select from runs c where c.parent_run_id = r.id
              and c.state not in ('succeeded', 'failed', 'canceled', 'timed_out'))
            and not exists (select from runs m where m.id = r.parent_run_id
              and m.state not in ('succeeded', 'failed', 'canceled', 'timed_out'))
            and not (r.state = 'succeeded' and r.recipe_id is not null and r.state_key is not null
              and not exists (select from runs n where n.recipe_id = r.recipe_id and n.state_key = r.state_key
                and n.state = 'succeeded' and (n.finished_at, n.id) > (r.finished_at, r.id)))
          order by r.created_at, r.id limit ${mostRuns}::integer
          for update skip locked
        ) r
        limit ${mostRuns}::integer
      ), weighed as (
        select id, sum(last_seq) over (order by created_at, id) as events,
          row_number() over (order by created_at, id) as place
        from candidates
      ),`,
    deleting: sql`
      delete from runs where id in (
        select id from weighed where place = 1 or events <= ${mostEvents}::integer)
      returning workspace_id`,
  })
  // What was weighed and found too much is for the next pass, so any deletion may leave more.
  return { done, more: done > 0 }
}
