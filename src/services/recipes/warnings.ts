import { sql } from 'kysely'
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

/** What the definition names and the workspace lacks, and what it waits for that may be waiting for it. */
export async function warningsFor(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  definition: RecipeDefinition,
): Promise<Warning[]> {
  const agents: Name[] = []
  const credentials: Name[] = []
  const recipes: Name[] = []
  const unbounded: Name[] = []
  collect(definition.steps, '/steps', { agents, credentials, recipes, unbounded })
  const webhook = definition.settings?.on_failure?.webhook
  if (webhook?.auth) {
    credentials.push({ pointer: '/settings/on_failure/webhook/auth/credential', name: webhook.auth.credential })
  }
  for (const [index, { webhook: hook }] of (definition.settings?.on_failure?.notify ?? []).entries())
    if (hook?.auth)
      credentials.push({
        pointer: `/settings/on_failure/notify/${index}/webhook/auth/credential`,
        name: hook.auth.credential,
      })
  const handler = definition.settings?.on_failure?.recipe
  if (handler !== undefined) recipes.push({ pointer: '/settings/on_failure/recipe', name: handler })
  const known = new Set<string>()
  const limited = new Set<string>()
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
      .select(['id', 'slug'])
      .where('workspace_id', '=', actor.workspaceId)
      .where((where) => {
        const names = credentials.map(({ name }) => name)
        return where.or([where('slug', 'in', names), where(sql<string>`id::text`, 'in', names)])
      })
      .execute()
    for (const { id, slug } of rows) known.add(`credential ${id}`).add(`credential ${slug}`)
  }
  if (recipes.length > 0) {
    const rows = await db
      .selectFrom('workflow_recipes')
      .innerJoin('recipe_versions', (join) =>
        join
          .onRef('recipe_versions.recipe_id', '=', 'workflow_recipes.id')
          .onRef('recipe_versions.version', '=', 'workflow_recipes.version'),
      )
      .select(['id', 'slug', sql<boolean>`definition #> '{settings,concurrency}' is not null`.as('limited')])
      .where('workflow_recipes.workspace_id', '=', actor.workspaceId)
      .where('deleted_at', 'is', null)
      .where((where) => {
        const ids = recipes.map(({ name }) => name).filter(isUuid)
        const slugs = recipes.map(({ name }) => name).filter((name) => !isUuid(name))
        return where.or([
          ids.length > 0 ? where('id', 'in', ids) : where.lit(false),
          slugs.length > 0 ? where('slug', 'in', slugs) : where.lit(false),
        ])
      })
      .execute()
    for (const row of rows) {
      known.add(`recipe ${row.id}`).add(`recipe ${row.slug}`)
      if (row.limited && row.slug !== definition.slug) limited.add(row.id).add(row.slug)
    }
    if (definition.slug !== undefined) known.add(`recipe ${definition.slug}`)
  }
  const missing = (kind: string, names: Name[]) =>
    names
      .filter(({ name }) => !known.has(`${kind} ${name}`))
      .map(({ pointer, name }) => ({ pointer, detail: `there is no ${kind} ${name} yet` }))
  return [
    ...idleFields(definition.steps, '/steps'),
    ...missing('agent', agents),
    ...missing('recipe', recipes),
    ...missing('credential', credentials),
    ...(definition.settings?.concurrency && !definition.settings.timeout ? unbounded : [])
      .filter(({ name }) => limited.has(name))
      .map(({ pointer, name }) => ({
        pointer,
        detail: `has no timeout, and ${name} is under a limit as this recipe is: they wait for each other for good where ${name} starts this one`,
      })),
  ]
}

const attempts = ['retry', 'timeout', 'once'] as const
const idleIn: { [kind in Step['kind']]?: readonly (typeof attempts)[number][] } = {
  branch: attempts,
  foreach: attempts,
  wait: attempts,
  approval: ['retry', 'once'],
  recipe: ['once'],
}

/** Fields that bear on one attempt of an effect, on a step that has none of its own. */
function idleFields(steps: Step[], pointer: string): Warning[] {
  return steps.flatMap((step, index) => {
    const at = pointerTo(pointer, index)
    const idle = idleIn[step.kind]
    if (!idle) return []
    const instead = step.kind === 'branch' || step.kind === 'foreach' ? '; put it on the steps inside' : ''
    const own = idle
      .filter((field) => step[field] !== undefined && !(field === 'timeout' && 'event' in step))
      .map((field) => ({ pointer: `${at}/${field}`, detail: `has no effect on a step of kind ${step.kind}${instead}` }))
    return [...own, ...innerLists(step, at).flatMap((inner) => idleFields(inner.steps, inner.pointer))]
  })
}

function innerLists(step: Step, at: string): { steps: Step[]; pointer: string }[] {
  if (step.kind === 'foreach') return [{ steps: step.steps, pointer: `${at}/steps` }]
  if (step.kind !== 'branch') return []
  return [
    ...step.cases.map((item, index) => ({ steps: item.steps, pointer: `${at}/cases/${index}/steps` })),
    { steps: step.default ?? [], pointer: `${at}/default` },
  ]
}

interface Names {
  agents: Name[]
  credentials: Name[]
  recipes: Name[]
  /** Steps that wait for a recipe as long as it takes. */
  unbounded: Name[]
}

function collect(steps: Step[], pointer: string, found: Names): void {
  const { agents, credentials, recipes, unbounded } = found
  for (const [index, step] of steps.entries()) {
    const at = pointerTo(pointer, index)
    if (step.kind === 'agent') agents.push({ pointer: `${at}/agent`, name: step.agent })
    if (step.kind === 'http' && step.auth)
      credentials.push({ pointer: `${at}/auth/credential`, name: step.auth.credential })
    if (step.kind === 'notify' && step.webhook?.auth)
      credentials.push({ pointer: `${at}/webhook/auth/credential`, name: step.webhook.auth.credential })
    if (step.kind === 'recipe') recipes.push({ pointer: `${at}/recipe`, name: step.recipe })
    if (step.kind === 'recipe' && step.timeout === undefined) unbounded.push({ pointer: at, name: step.recipe })
    for (const inner of innerLists(step, at)) collect(inner.steps, inner.pointer, found)
  }
}
