import type { Migration } from './migration.ts'

/**
 * Steps, calls and events of a run are written by statements that hold the run's row, so the check that a foreign key
 * makes for each of them finds what is known, and was a third of what a checkpoint costs. Their other half, that a
 * deleted run takes its children along, is one statement for all runs that are deleted together.
 */
export const childrenOfRuns: Migration = {
  name: '0007-children-of-runs',
  statements: [
    `alter table run_steps drop constraint run_steps_run_id_fkey`,
    `alter table run_calls drop constraint run_calls_run_id_fkey`,
    `alter table run_events drop constraint run_events_run_id_fkey`,
    `create function delete_children_of_runs() returns trigger language plpgsql as $$
      begin
        delete from run_steps where run_id in (select id from gone);
        delete from run_calls where run_id in (select id from gone);
        delete from run_events where run_id in (select id from gone);
        return null;
      end
    $$`,
    `create trigger runs_delete_children after delete on runs referencing old table as gone
      for each statement execute function delete_children_of_runs()`,
  ],
}
