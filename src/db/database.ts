import type { AgentsTable } from './tables/agents.table.ts'
import type { AuditHeadsTable, AuditLogsTable, AuditSealsTable, PrivacyExportsTable } from './tables/audit.table.ts'
import type {
  CrowdedSlotsTable,
  FreedSlotsTable,
  HeldRunsTable,
  JoinedTriggersTable,
  RunSlotsTable,
  ThrottleLinesTable,
  WorkspaceLimitsTable,
} from './tables/concurrency.table.ts'
import type { DoomedBlobsTable, FilesTable, RunBlobsTable } from './tables/files.table.ts'
import type { ComponentSamplesTable, InstancesTable } from './tables/heartbeat.table.ts'
import type { ApiKeysTable, MembershipsTable, UsersTable, WorkspacesTable } from './tables/identity.table.ts'
import type { BudgetAlertsTable, BudgetReservationsTable, BudgetsTable } from './tables/budgets.table.ts'
import type { IdempotencyKeysTable } from './tables/idempotency.table.ts'
import type { ModelsTable, ModelUsageTable, SystemPromptsTable, SystemSettingsTable } from './tables/models.table.ts'
import type {
  ApprovalLinksTable,
  ApprovalsTable,
  ChildEndsTable,
  RunFamiliesTable,
  EventBytesTable,
  EventWaitsTable,
  InboundEventsTable,
} from './tables/outside.table.ts'
import type { RecipeVersionsTable, WorkflowRecipesTable } from './tables/recipes.table.ts'
import type { ReplayRunsTable, ReplaysTable } from './tables/replays.table.ts'
import type { RetentionFiguresTable, RetentionPoliciesTable } from './tables/retention.table.ts'
import type {
  FailureNoticesTable,
  RunCallsTable,
  RunEventsTable,
  RunInboxTable,
  RunQueueTable,
  RunsTable,
  RunStepsTable,
  WaitsTable,
} from './tables/runs.table.ts'
import type {
  ScheduleBackfillRunsTable,
  ScheduleBackfillsTable,
  ScheduleEventsTable,
  SchedulePingsTable,
} from './tables/schedule-operations.table.ts'
import type { ScheduleSlotsTable, SchedulesTable } from './tables/schedules.table.ts'
import type {
  OrgMembersTable,
  OrgWorkspacesTable,
  RevokedSessionsTable,
  SpentTokensTable,
} from './tables/tokens.table.ts'
import type { CredentialsTable, CredentialUsesTable, EgressRulesTable, UserApiKeysTable } from './tables/vault.table.ts'
import type { InvitationsTable, PlansTable, RolesTable } from './tables/team.table.ts'
import type {
  WorkflowPlansTable,
  WorkflowRunsTable,
  WorkflowsTable,
  WorkspacePausesTable,
} from './tables/workflows.table.ts'
import type {
  WebhookDeliveriesTable,
  WebhookReceiptsTable,
  WebhooksTable,
  WebhookSubscriptionsTable,
} from './tables/webhooks.table.ts'

export interface Database {
  workspaces: WorkspacesTable
  users: UsersTable
  memberships: MembershipsTable
  roles: RolesTable
  invitations: InvitationsTable
  plans: PlansTable
  api_keys: ApiKeysTable
  spent_tokens: SpentTokensTable
  revoked_sessions: RevokedSessionsTable
  org_workspaces: OrgWorkspacesTable
  org_members: OrgMembersTable
  credentials: CredentialsTable
  credential_uses: CredentialUsesTable
  user_api_keys: UserApiKeysTable
  egress_rules: EgressRulesTable
  models: ModelsTable
  model_usage: ModelUsageTable
  budgets: BudgetsTable
  budget_reservations: BudgetReservationsTable
  budget_alerts: BudgetAlertsTable
  system_settings: SystemSettingsTable
  system_prompts: SystemPromptsTable
  agents: AgentsTable
  workflow_recipes: WorkflowRecipesTable
  recipe_versions: RecipeVersionsTable
  runs: RunsTable
  run_queue: RunQueueTable
  run_slots: RunSlotsTable
  held_runs: HeldRunsTable
  freed_slots: FreedSlotsTable
  crowded_slots: CrowdedSlotsTable
  workspace_limits: WorkspaceLimitsTable
  throttle_lines: ThrottleLinesTable
  joined_triggers: JoinedTriggersTable
  waits: WaitsTable
  run_steps: RunStepsTable
  run_calls: RunCallsTable
  run_events: RunEventsTable
  run_inbox: RunInboxTable
  inbound_events: InboundEventsTable
  event_waits: EventWaitsTable
  event_bytes: EventBytesTable
  approvals: ApprovalsTable
  approval_links: ApprovalLinksTable
  child_ends: ChildEndsTable
  run_families: RunFamiliesTable
  failure_notices: FailureNoticesTable
  replays: ReplaysTable
  replay_runs: ReplayRunsTable
  schedules: SchedulesTable
  schedule_slots: ScheduleSlotsTable
  schedule_events: ScheduleEventsTable
  schedule_pings: SchedulePingsTable
  schedule_backfills: ScheduleBackfillsTable
  schedule_backfill_runs: ScheduleBackfillRunsTable
  instances: InstancesTable
  component_samples: ComponentSamplesTable
  workflows: WorkflowsTable
  workflow_plans: WorkflowPlansTable
  workflow_runs: WorkflowRunsTable
  workspace_pauses: WorkspacePausesTable
  idempotency_keys: IdempotencyKeysTable
  webhooks: WebhooksTable
  webhook_receipts: WebhookReceiptsTable
  webhook_subscriptions: WebhookSubscriptionsTable
  webhook_deliveries: WebhookDeliveriesTable
  files: FilesTable
  run_blobs: RunBlobsTable
  doomed_blobs: DoomedBlobsTable
  retention_policies: RetentionPoliciesTable
  retention_figures: RetentionFiguresTable
  audit_heads: AuditHeadsTable
  audit_logs: AuditLogsTable
  audit_seals: AuditSealsTable
  privacy_exports: PrivacyExportsTable
}
