import type { Migration } from './migration.ts'

export const heartbeat: Migration = {
  name: '0005-heartbeat',
  statements: [
    // A row is updated with every beat: the free half of its page keeps that in place, and no index names what changes.
    `create table instances (
      id text collate "C" primary key,
      runtime text not null check (runtime in ('node', 'bun', 'workers')),
      version text not null,
      host text,
      pid integer,
      state text not null check (state in ('alive', 'draining', 'stopped')),
      started_at timestamptz(3) not null,
      last_beat_at timestamptz(3) not null,
      period_s integer not null check (period_s > 0),
      load jsonb not null,
      components jsonb not null,
      services jsonb not null
    ) with (fillfactor = 50)`,
    // What was measured, and nothing else: a time without samples has no row.
    `create table component_samples (
      bucket_at timestamptz(3) not null,
      component text collate "C" not null,
      instance_id text collate "C" not null,
      healthy integer not null default 0,
      degraded integer not null default 0,
      unhealthy integer not null default 0,
      primary key (bucket_at, component, instance_id)
    ) with (fillfactor = 80)`,
  ],
}
