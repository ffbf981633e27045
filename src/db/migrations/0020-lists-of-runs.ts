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
  ],
}
