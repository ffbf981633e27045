import type { Config } from '../config.ts'
import type { Runtime } from '../context.ts'
import type { OpenApiDocument } from '../lib/openapi/document.ts'
import { servedDocument } from '../lib/openapi/served-document.ts'
import type { RouteGroup } from '../lib/operation.ts'
import { agentsRoutes } from './agents.routes.ts'
import { apiKeysRoutes } from './api-keys.routes.ts'
import { approvalPageRoutes } from './approval-page.routes.ts'
import { approvalsRoutes } from './approvals.routes.ts'
import { auditLogsRoutes } from './audit-logs.routes.ts'
import { authRoutes } from './auth.routes.ts'
import { budgetsRoutes } from './budgets.routes.ts'
import { credentialsRoutes } from './credentials.routes.ts'
import { egressRulesRoutes } from './egress-rules.routes.ts'
import { docsRoutes } from './docs.routes.ts'
import { eventsRoutes, signalsRoutes } from './events.routes.ts'
import { executionControlRoutes } from './execution-control.routes.ts'
import { executionEventsRoutes } from './execution-events.routes.ts'
import { executionOutputRoutes } from './execution-output.routes.ts'
import { executionStatsRoutes } from './execution-stats.routes.ts'
import { executionsRoutes, recipeExecutionsRoutes } from './executions.routes.ts'
import { filesRoutes } from './files.routes.ts'
import { invitationsRoutes } from './invitations.routes.ts'
import { healthRoutes, type HealthSources } from './health.routes.ts'
import { heartbeatRoutes } from './heartbeat.routes.ts'
import { modelsRoutes } from './models.routes.ts'
import { permissionsRoutes } from './permissions.routes.ts'
import { privacyRoutes } from './privacy.routes.ts'
import { recipeExportRoutes } from './recipe-export.routes.ts'
import { recipesRoutes } from './recipes.routes.ts'
import { pingsRoutes, schedulePingsRoutes } from './schedule-pings.routes.ts'
import { scheduleBackfillsRoutes } from './schedule-backfills.routes.ts'
import { scheduleOverviewRoutes } from './schedule-overview.routes.ts'
import { recipeStepsRoutes } from './recipe-steps.routes.ts'
import { replaysRoutes } from './replays.routes.ts'
import { schedulesRoutes } from './schedules.routes.ts'
import { schemasRoutes } from './schemas.routes.ts'
import { systemRoutes } from './system.routes.ts'
import { systemSettingsRoutes } from './system-settings.routes.ts'
import { userApiKeysRoutes } from './user-api-keys.routes.ts'
import { workflowEventsRoutes } from './workflow-events.routes.ts'
import { workflowPlansRoutes } from './workflow-plans.routes.ts'
import { workflowTemplatesRoutes } from './workflow-templates.routes.ts'
import { workflowsRoutes } from './workflows.routes.ts'
import { teamInvitationsRoutes } from './team-invitations.routes.ts'
import { teamRolesRoutes } from './team-roles.routes.ts'
import { teamRoutes } from './team.routes.ts'
import { webhookInboundRoutes } from './webhook-inbound.routes.ts'
import { webhookSubscriptionsRoutes } from './webhook-subscriptions.routes.ts'
import { webhooksRoutes } from './webhooks.routes.ts'
import { plansRoutes, workspaceLimitsRoutes } from './workspace-limits.routes.ts'
import { workspaceRetentionRoutes } from './workspace-retention.routes.ts'
import { workspacesRoutes } from './workspaces.routes.ts'

/**
 * The table of contents: every group, in the order in which they are mounted. Where two patterns match one path the first
 * wins, so inside a group and among groups with a common prefix static paths stand before those with parameters.
 */
export function routeGroups(config: Config, sources: HealthSources): RouteGroup[] {
  const groups = [
    healthRoutes(sources), //  /, /health, /api/health, /metrics
    authRoutes, //             /api/auth
    workspacesRoutes, //       /api/workspaces
    workspaceRetentionRoutes, // /api/workspaces/current/retention
    workspaceLimitsRoutes, //  /api/workspaces/current/limits, /{workspace}/limits
    plansRoutes, //            /api/plans
    teamRoutes, //             /api/workspaces/{workspace}/team/members, /leave, /transfer
    teamInvitationsRoutes, //  /api/workspaces/{workspace}/team/invitations
    teamRolesRoutes, //        /api/workspaces/{workspace}/team/roles
    invitationsRoutes, //      /api/invitations
    permissionsRoutes, //      /api/permissions
    apiKeysRoutes, //          /api/api-keys
    userApiKeysRoutes, //      /api/user-api-keys
    credentialsRoutes, //      /api/credentials
    egressRulesRoutes, //      /api/egress-rules
    auditLogsRoutes, //        /api/audit-logs
    systemSettingsRoutes, //   /api/system-settings
    systemRoutes(sources.metrics), // /api/system
    privacyRoutes, //          /api/privacy
    budgetsRoutes, //          /api/budgets
    agentsRoutes, //           /api/agents
    modelsRoutes, //           /api/models
    recipesRoutes, //          /api/workflow-recipes
    recipeExportRoutes, //     /api/workflow-recipes/{recipe}/export
    recipeStepsRoutes, //      /api/workflow-recipes/{recipe}/steps/{step}/test
    recipeExecutionsRoutes, // /api/workflow-recipes/{recipe}/execute, /executions
    workflowTemplatesRoutes, // /api/workflow-templates
    workflowsRoutes, //        /api/workflows
    workflowPlansRoutes, //    /api/workflows/{workflow}/plan, /plans
    workflowEventsRoutes, //   /api/workflows/{workflow}/events
    replaysRoutes, //          /api/executions/replays
    executionStatsRoutes, //   /api/executions/stats, /stuck
    executionsRoutes, //       /api/executions
    executionControlRoutes, // /api/executions/{execution}/pause, /resume, /retry, /replay
    executionEventsRoutes, //  /api/executions/{execution}/events
    executionOutputRoutes, //  /api/executions/{execution}/output
    signalsRoutes, //          /api/executions/{execution}/signals
    eventsRoutes, //           /api/events
    approvalsRoutes, //        /api/approvals
    approvalPageRoutes, //     /api/approvals/{approval}/page
    scheduleOverviewRoutes, // /api/schedules/upcoming, /slots, /alerts, /forecast, /pause, /resume
    schedulesRoutes, //        /api/schedules
    scheduleBackfillsRoutes, // /api/schedules/{schedule}/backfills
    schedulePingsRoutes, //    /api/schedules/{schedule}/ping
    pingsRoutes, //            /api/pings
    webhookInboundRoutes, //   /api/webhooks/recipe/{webhook}
    webhookSubscriptionsRoutes, // /api/webhooks/subscriptions
    webhooksRoutes, //         /api/webhooks
    filesRoutes(config), //    /api/files
    heartbeatRoutes(config), // /api/heartbeat
    schemasRoutes, //          /schemas
  ]
  if (config.environment === 'production') return groups
  let kept: OpenApiDocument | undefined
  const document = async ({ assets }: Runtime) => (kept ??= await servedDocument(groups, config.apiUrl, assets))
  return [...groups, docsRoutes(document)]
}
