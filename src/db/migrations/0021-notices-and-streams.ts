import type { Migration } from './migration.ts'

/** What is told of a run that failed, from before its end until it was sent; and the runs of a workflow in their order. */
export const noticesAndStreams: Migration = {
  name: '0021-notices-and-streams',
  statements: [
    // Written just before the end that it tells of. It is sent once that end is there, so a crash between the two tells nothing untrue.
    `create table failure_notices (
      run_id uuid not null references runs on delete cascade,
      generation integer not null,
      number integer not null,
      workspace_id uuid not null,
      state text not null check (state in ('failed', 'timed_out')),
      notice jsonb not null,
      delivery text not null default 'pending' check (delivery in ('pending', 'sent', 'failed')),
      attempts integer not null default 0,
      next_attempt_at timestamptz(3) default app_now(),
      error text,
      created_at timestamptz(3) not null default app_now(),
      primary key (run_id, generation, number)
    )`,
    `create index failure_notices_due on failure_notices (workspace_id, next_attempt_at) where delivery = 'pending'`,

    // The number is part of the ids of the workflow's events: it is given once, in the commit that starts the run.
    `create table workflow_runs (
      workflow_id uuid not null references workflows on delete cascade,
      number integer not null,
      run_id uuid not null,
      primary key (workflow_id, number)
    )`,
    `insert into workflow_runs (workflow_id, number, run_id)
      select known.workflow_id, row_number() over (partition by known.workflow_id order by r.created_at, r.id), r.id
      from (
        select workflow_id, planning_run_id as run_id from workflow_plans
        union select workflow_id, run_id from workflow_plans
        union select id, run_id from workflows
      ) known join runs r on r.id = known.run_id`,
  ],
}
