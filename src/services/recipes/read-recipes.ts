import type { ServiceContext } from '../../context.ts'
import { newestFirst } from '../../db/keyset.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import { byCreation, readNumberCursor, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { databaseNow } from '../schedules/timing.ts'
import type { RecipeDefinition } from './definition.ts'
import { diffDefinitions, type Change } from './diff.ts'
import { asDefinition, findRecipe } from './find.ts'
import { checkRecipeInput } from './input.ts'
import { defaultScheduleOf, toRecipe, toSummary, type Recipe, type RecipeSummary } from './view.ts'
import { warningsFor, type Warning } from './warnings.ts'

type Context = Pick<ServiceContext, 'db' | 'actor'>

export interface VersionSummary {
  version: number
  hash: string
  created_by: string | null
  created_at: string
}
export interface RecipeVersion extends VersionSummary {
  recipe_id: string
  definition: RecipeDefinition
}

export async function getRecipe({ db, actor }: Context, idOrSlug: string): Promise<Recipe> {
  const stored = await findRecipe(db, actor.workspaceId, idOrSlug)
  return toRecipe(stored, await defaultScheduleOf(db, stored.row))
}

export async function listRecipes(
  { db, actor }: Context,
  request: PageRequest & { q?: string | undefined },
): Promise<Page<RecipeSummary>> {
  const pattern = `%${(request.q ?? '').replace(/[\\%_]/g, '\\$&')}%`
  const matching = db
    .selectFrom('workflow_recipes as w')
    .leftJoin('schedules as s', (join) => join.onRef('s.recipe_id', '=', 'w.id').on('s.name', '=', 'default'))
    .selectAll('w')
    .select(['s.cron', 's.timezone'])
    .where('w.workspace_id', '=', actor.workspaceId)
    .where('w.deleted_at', 'is', null)
    .$if(request.q !== undefined, (query) =>
      query.where((where) =>
        where.or([
          where('w.name', 'ilike', pattern),
          where('w.slug', 'ilike', pattern),
          where('w.description', 'ilike', pattern),
        ]),
      ),
    )
  const rows = await newestFirst(matching, request, 'w').execute()
  return toPage(rows, request.limit, byCreation, ({ cron, timezone, ...row }) =>
    toSummary(row, cron === null || timezone === null ? null : { cron, timezone }),
  )
}

/** What a write would answer, without writing. */
export async function validateRecipe(
  ctx: Context,
  value: unknown,
): Promise<{ valid: boolean; errors: Fault[]; warnings: Warning[] }> {
  const { input, faults } = checkRecipeInput(value, await databaseNow(ctx.db))
  if (!input) return { valid: false, errors: faults, warnings: [] }
  return { valid: true, errors: [], warnings: await warningsFor(ctx, input.definition) }
}

/** Newest first. Versions are numbered without gaps, so a page is found by number. */
export async function listVersions(
  { db, actor }: Context,
  idOrSlug: string,
  request: PageRequest,
): Promise<Page<VersionSummary>> {
  const { row } = await findRecipe(db, actor.workspaceId, idOrSlug)
  const after = readNumberCursor(request.cursor)
  const rows = await db
    .selectFrom('recipe_versions')
    .select(['version', 'hash', 'created_by', 'created_at'])
    .where('workspace_id', '=', actor.workspaceId)
    .where('recipe_id', '=', row.id)
    // The cursor of lists holds a time; here it holds the number of the last version shown.
    .$if(after !== null, (query) => query.where('version', '<', after!))
    .orderBy('version', 'desc')
    .limit(request.limit + 1)
    .execute()
  return toPage(rows, request.limit, ({ version }) => ({ createdAt: new Date(version), id: row.id }), toVersionSummary)
}

export async function getVersion(ctx: Context, idOrSlug: string, version: number): Promise<RecipeVersion> {
  const { row } = await findRecipe(ctx.db, ctx.actor.workspaceId, idOrSlug)
  const found = await ctx.db
    .selectFrom('recipe_versions')
    .selectAll()
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('recipe_id', '=', row.id)
    .where('version', '=', version)
    .executeTakeFirst()
  if (!found) throw new AppError('not-found', `There is no version ${version} of this recipe.`)
  return { recipe_id: row.id, ...toVersionSummary(found), definition: asDefinition(found.definition) }
}

export async function diffVersions(
  ctx: Context,
  idOrSlug: string,
  request: { from: number; to?: number | undefined },
): Promise<{ from: number; to: number; changes: Change[] }> {
  const { row } = await findRecipe(ctx.db, ctx.actor.workspaceId, idOrSlug)
  const before = await getVersion(ctx, row.id, request.from)
  const after = await getVersion(ctx, row.id, request.to ?? row.version)
  return { from: before.version, to: after.version, changes: diffDefinitions(before.definition, after.definition) }
}

/** The definition on its own, ready to be created elsewhere. */
export async function exportRecipe({ db, actor }: Context, idOrSlug: string): Promise<RecipeDefinition> {
  const { row, definition } = await findRecipe(db, actor.workspaceId, idOrSlug)
  const { name, description, inputs, steps, output, settings } = definition
  return {
    name,
    slug: row.slug,
    ...(description === undefined ? {} : { description }),
    ...(inputs === undefined ? {} : { inputs }),
    steps,
    ...(output === undefined ? {} : { output }),
    ...(settings === undefined ? {} : { settings }),
  }
}

const toVersionSummary = (row: {
  version: number
  hash: string
  created_by: string | null
  created_at: Date
}): VersionSummary => ({
  version: row.version,
  hash: row.hash,
  created_by: row.created_by,
  created_at: row.created_at.toISOString(),
})
