import type { Migration } from './migration.ts'

/**
 * How many runs have been started below a run that nobody's step has started: a recipe that calls itself for each of many
 * items ends at the limit. A counter, as counting the runs would cost each of them a walk over all others.
 */
export const runFamilies: Migration = {
  name: '0015-run-families',
  statements: [
    `create table run_families (
      root_id uuid primary key,
      started integer not null
    )`,
    `create or replace function delete_children_of_runs() returns trigger language plpgsql as $$
      begin
        delete from run_steps where run_id in (select id from gone);
        delete from run_calls where run_id in (select id from gone);
        delete from run_events where run_id in (select id from gone);
        delete from run_families where root_id in (select id from gone);
        return null;
      end
    $$`,
  ],
}
