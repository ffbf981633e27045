import type { RetentionField } from '../../src/services/retention/policy.ts'

/**
 * What removes the rows of a table, besides the purge of their workspace.
 *
 * - `with`: they go with the row of another table that they belong to, by a foreign key or a trigger of it.
 * - `after`: retention deletes them, by a field of the workspace's policy.
 * - `by`: something else deletes what is over, for the reason given.
 * - `bounded`: there are as many as people have made and not deleted, or as there are things to have one row each.
 * - `kept`: they stay, and grow no faster than people act.
 */
export type Reason =
  | { with: string }
  | { after: RetentionField; in: string }
  | { by: string; because: string }
  | { bounded: string }
  | { kept: string }

const ofRun: Reason = { with: 'runs' }
const byPeople = { bounded: 'People make and delete them.' }
const oneEach = (of: string): Reason => ({ bounded: `One for each ${of}.` })

export const whatGoes: Record<string, Reason> = {
  agents: { after: 'executions_days', in: 'retention/expire-deleted.ts' },
  api_keys: { kept: 'What is revoked tells who has acted; a plan bounds those that work.' },
  approval_links: { with: 'approvals' },
  approvals: ofRun,
  audit_heads: oneEach('workspace'),
  audit_logs: { after: 'audit_days', in: 'audit/tick.ts' },
  audit_seals: { after: 'audit_days', in: 'audit/tick.ts' },
  budget_alerts: { by: 'budgets/expire-alerts.ts', because: 'Their window is over.' },
  budget_reservations: { by: 'budgets/settle.ts', because: 'Their call has told its end, or never will.' },
  budgets: { bounded: 'A thousand a workspace; those of workflows and runs go with them.' },
  child_ends: { by: 'runs/child-ends.ts', because: 'The parent has been told.' },
  component_samples: { by: 'heartbeat/beat.ts', because: 'They are too old to be shown.' },
  credential_uses: { by: 'credentials/usage.ts', because: 'CREDENTIAL_USAGE_DAYS are over.' },
  credentials: byPeople,
  crowded_slots: ofRun,
  doomed_blobs: { by: 'files/sweep.ts', because: 'The bytes are gone.' },
  egress_rules: byPeople,
  event_bytes: { by: 'signals/events-tick.ts', because: 'Their hour is over.' },
  event_waits: ofRun,
  failure_notices: ofRun,
  files: { by: 'files/sweep.ts', because: 'They have expired; those of a run go with it, and a plan bounds the rest.' },
  freed_slots: { by: 'runs/concurrency/slots.ts', because: 'The slot was handed on.' },
  held_runs: ofRun,
  idempotency_keys: { by: 'idempotency/expire.ts', because: 'They have had their day.' },
  inbound_events: { by: 'signals/events-tick.ts', because: 'They have expired.' },
  instances: { by: 'heartbeat/beat.ts', because: 'They have been gone for long.' },
  invitations: { kept: 'They tell who was let in by whom; a person who is erased takes theirs along.' },
  joined_triggers: ofRun,
  memberships: byPeople,
  model_usage: { after: 'model_usage_days', in: 'models/expire-usage.ts' },
  models: { bounded: 'The catalogue of the installation.' },
  org_members: byPeople,
  org_workspaces: oneEach('organization'),
  plans: byPeople,
  privacy_exports: { by: 'privacy/tick.ts', because: 'They have expired.' },
  recipe_versions: { with: 'workflow_recipes' },
  replay_runs: { with: 'replays' },
  replays: { after: 'replays_days', in: 'replays/expire.ts' },
  retention_figures: oneEach('kind and workspace'),
  retention_policies: oneEach('workspace'),
  revoked_sessions: { by: 'auth.service.ts', because: 'Their person has ended a thousand others since.' },
  roles: byPeople,
  run_blobs: ofRun,
  run_calls: ofRun,
  run_events: ofRun,
  run_families: ofRun,
  run_inbox: ofRun,
  run_queue: ofRun,
  run_slots: ofRun,
  run_steps: ofRun,
  runs: { after: 'executions_days', in: 'retention/expire-runs.ts' },
  schedule_backfill_runs: { with: 'schedule_backfills' },
  schedule_backfills: { after: 'schedule_slots_days', in: 'schedules/expire-backfills.ts' },
  schedule_events: { after: 'schedule_slots_days', in: 'retention/expire-ledger.ts' },
  schedule_pings: { with: 'schedules' },
  schedule_slots: { after: 'schedule_slots_days', in: 'retention/expire-ledger.ts' },
  schedules: byPeople,
  schema_migrations: oneEach('migration'),
  spent_tokens: { by: 'signing/tokens.ts', because: 'They have expired.' },
  system_prompts: { bounded: 'Those that the product has.' },
  system_settings: { bounded: 'Those that the product has.' },
  throttle_lines: { by: 'runs/concurrency/held.ts', because: 'Their period is over.' },
  user_api_keys: oneEach('provider and workspace'),
  users: { bounded: 'Persons, who can be erased.' },
  waits: ofRun,
  webhook_deliveries: { after: 'webhook_logs_days', in: 'webhooks/expire.ts' },
  webhook_receipts: { after: 'webhook_logs_days', in: 'webhooks/expire.ts' },
  webhook_subscriptions: byPeople,
  webhooks: byPeople,
  workflow_plans: { with: 'workflows' },
  workflow_recipes: { after: 'executions_days', in: 'retention/expire-deleted.ts' },
  workflow_runs: { with: 'workflows' },
  workflows: { after: 'workflows_days', in: 'workflows/expire.ts' },
  workspace_limits: oneEach('workspace'),
  workspace_pauses: oneEach('workspace'),
  workspaces: byPeople,
}
