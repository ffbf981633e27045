import type { Config } from '../config.ts'
import { createDocument, type OpenApiDocument } from '../lib/openapi/document.ts'
import type { RouteGroup } from '../lib/operation.ts'
import { apiKeysRoutes } from './api-keys.routes.ts'
import { credentialsRoutes } from './credentials.routes.ts'
import { docsRoutes } from './docs.routes.ts'
import { healthRoutes, type HealthSources } from './health.routes.ts'
import { permissionsRoutes } from './permissions.routes.ts'
import { workspacesRoutes } from './workspaces.routes.ts'

/** The table of contents: every group, in the order in which they are mounted. */
export function routeGroups(config: Config, sources: HealthSources): RouteGroup[] {
  const groups = [healthRoutes(sources), workspacesRoutes, permissionsRoutes, apiKeysRoutes, credentialsRoutes]
  if (config.environment === 'production') return groups
  let document: OpenApiDocument | undefined
  return [...groups, docsRoutes(() => (document ??= createDocument(groups, config.apiUrl)))]
}
