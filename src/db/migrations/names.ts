/**
 * What `index.ts` lists, by name alone: a Worker asks whether the schema is current and migrates nothing, so the statements
 * stay out of its bundle. A test holds the two equal.
 */
export const migrationNames: readonly string[] = [
  '0001-foundation',
  '0002-runs',
  '0003-schedules',
  '0004-users',
  '0005-heartbeat',
  '0006-trace-context',
  '0007-children-of-runs',
  '0008-webhooks',
  '0009-schedule-operations',
  '0010-outside',
  '0011-files',
  '0012-workflows',
  '0013-run-control',
  '0014-webhook-guards',
  '0015-run-families',
  '0016-turns',
  '0017-engine-two',
  '0019-concurrency',
  '0020-lists-of-runs',
  '0021-notices-and-streams',
  '0022-tenancy',
  '0023-tokens-and-sessions',
  '0024-vault',
  '0025-budgets',
  '0026-audit-and-privacy',
  '0030-row-security',
  '0031-expiry',
]
