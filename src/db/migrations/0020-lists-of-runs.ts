import type { Migration } from './migration.ts'

/**
 * Ways to the few among many: a list of what has not succeeded, or of one schedule, reads what it shows and not the
 * history of the workspace. What succeeds leaves the first with its end.
 */
export const listsOfRuns: Migration = {
  name: '0020-lists-of-runs',
  statements: [
    `create index runs_not_succeeded on runs (workspace_id, state, created_at, id) where state <> 'succeeded'`,
    `create index runs_by_schedule on runs (schedule_id, created_at, id) where schedule_id is not null`,
    // A step is written as it begins and again as it ends. With room left for the second on the page of the first, no index
    // has to learn of it: three of four stay at 100 runs in flight, where a tenth of the page was enough for one of three.
    `alter table run_steps set (fillfactor = 70)`,
  ],
}
