import type { Config } from '../config.ts'
import { createDocument, type OpenApiDocument } from '../lib/openapi/document.ts'
import type { RouteGroup } from '../lib/operation.ts'
import { agentsRoutes } from './agents.routes.ts'
import { apiKeysRoutes } from './api-keys.routes.ts'
import { authRoutes } from './auth.routes.ts'
import { credentialsRoutes } from './credentials.routes.ts'
import { docsRoutes } from './docs.routes.ts'
import { executionEventsRoutes } from './execution-events.routes.ts'
import { executionOutputRoutes } from './execution-output.routes.ts'
import { executionsRoutes, recipeExecutionsRoutes } from './executions.routes.ts'
import { healthRoutes, type HealthSources } from './health.routes.ts'
import { heartbeatRoutes } from './heartbeat.routes.ts'
import { modelsRoutes } from './models.routes.ts'
import { permissionsRoutes } from './permissions.routes.ts'
import { recipeExportRoutes } from './recipe-export.routes.ts'
import { recipesRoutes } from './recipes.routes.ts'
import { schedulesRoutes } from './schedules.routes.ts'
import { schemasRoutes } from './schemas.routes.ts'
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
    permissionsRoutes, //      /api/permissions
    apiKeysRoutes, //          /api/api-keys
    credentialsRoutes, //      /api/credentials
    agentsRoutes, //           /api/agents
    modelsRoutes, //           /api/models
    recipesRoutes, //          /api/workflow-recipes
    recipeExportRoutes, //     /api/workflow-recipes/{recipe}/export
    recipeExecutionsRoutes, // /api/workflow-recipes/{recipe}/execute, /executions
    executionsRoutes, //       /api/executions
    executionEventsRoutes, //  /api/executions/{execution}/events
    executionOutputRoutes, //  /api/executions/{execution}/output
    schedulesRoutes, //        /api/schedules
    heartbeatRoutes(config), // /api/heartbeat
    schemasRoutes, //          /schemas
  ]
  if (config.environment === 'production') return groups
  let document: OpenApiDocument | undefined
  return [...groups, docsRoutes(() => (document ??= createDocument(groups, config.apiUrl)))]
}
