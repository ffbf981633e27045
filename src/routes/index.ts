import type { RouteGroup } from '../lib/operation.ts'

/** The table of contents: every group, in the order of their paths; static prefixes before those with parameters. */
export function routeGroups(): RouteGroup[] {
  return []
}
