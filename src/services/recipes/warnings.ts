import type { ServiceContext } from '../../context.ts'
import { isUuid } from '../../lib/ids.ts'
import { pointerTo } from '../../lib/pointer.ts'
import type { RecipeDefinition, Step } from './definition.ts'

/** Something that will fail a run unless it is put right by then. Unlike a fault, it refuses nothing. */
export interface Warning {
  pointer: string
  detail: string
}
type Name = { pointer: string; name: string }

/** Agents and credentials that the definition names and the workspace lacks. */
export async function warningsFor(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  definition: RecipeDefinition,
): Promise<Warning[]> {
  const agents: Name[] = []
  const credentials: Name[] = []
  collect(definition.steps, '/steps', agents, credentials)
  const webhook = definition.settings?.on_failure?.webhook
  if (webhook?.auth) {
    credentials.push({ pointer: '/settings/on_failure/webhook/auth/credential', name: webhook.auth.credential })
  }
  const known = new Set<string>()
  if (agents.length > 0) {
    const ids = agents.map(({ name }) => name).filter(isUuid)
    const slugs = agents.map(({ name }) => name).filter((name) => !isUuid(name))
    const rows = await db
      .selectFrom('agents')
      .select(['id', 'slug'])
      .where('workspace_id', '=', actor.workspaceId)
      .where('deleted_at', 'is', null)
      .where((where) =>
        where.or([
          ids.length > 0 ? where('id', 'in', ids) : where.lit(false),
          slugs.length > 0 ? where('slug', 'in', slugs) : where.lit(false),
        ]),
      )
      .execute()
    for (const { id, slug } of rows) known.add(`agent ${id}`).add(`agent ${slug}`)
  }
  if (credentials.length > 0) {
    const rows = await db
      .selectFrom('credentials')
      .select('slug')
      .where('workspace_id', '=', actor.workspaceId)
      .where(
        'slug',
        'in',
        credentials.map(({ name }) => name),
      )
      .execute()
    for (const { slug } of rows) known.add(`credential ${slug}`)
  }
  const missing = (kind: string, names: Name[]) =>
    names
      .filter(({ name }) => !known.has(`${kind} ${name}`))
      .map(({ pointer, name }) => ({ pointer, detail: `there is no ${kind} ${name} yet` }))
  return [...missing('agent', agents), ...missing('credential', credentials)]
}

function collect(steps: Step[], pointer: string, agents: Name[], credentials: Name[]): void {
  for (const [index, step] of steps.entries()) {
    const at = pointerTo(pointer, index)
    if (step.kind === 'agent') agents.push({ pointer: `${at}/agent`, name: step.agent })
    if (step.kind === 'http' && step.auth)
      credentials.push({ pointer: `${at}/auth/credential`, name: step.auth.credential })
    if (step.kind === 'foreach') collect(step.steps, `${at}/steps`, agents, credentials)
    if (step.kind === 'branch') {
      for (const [number, item] of step.cases.entries()) {
        collect(item.steps, `${at}/cases/${number}/steps`, agents, credentials)
      }
      collect(step.default ?? [], `${at}/default`, agents, credentials)
    }
  }
}
