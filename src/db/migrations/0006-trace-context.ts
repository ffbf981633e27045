import type { Migration } from './migration.ts'

export const traceContext: Migration = {
  name: '0006-trace-context',
  statements: [
    // Where a run stands in its trace: what every process that takes it up goes on from. Null: nobody traced its start.
    `alter table runs add column trace_context jsonb`,
  ],
}
