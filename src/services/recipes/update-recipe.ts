import { sql, type Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { AppError } from '../../lib/errors.ts'
import { requireMatch } from '../../lib/etag.ts'
import { mergePatch } from '../../lib/merge-patch.ts'
import { recordAudit } from '../audit/record.ts'
import { upsertDefaultSchedule } from '../schedules/default-schedule.ts'
import { databaseNow } from '../schedules/timing.ts'
import type { RecipeDefinition } from './definition.ts'
import { asDefinition, lockRecipe, type RecipeRow, type StoredRecipe } from './find.ts'
import { invalidRecipe, parseRecipeInput } from './input.ts'
import { hashOf, insertVersion, slugTaken, toVersionContent } from './store.ts'
import { defaultScheduleOf, recipeTag, toRecipe, type Recipe } from './view.ts'
import { warningsFor } from './warnings.ts'

/**
 * Merges the members that are given; null takes one away. `settings` merges member by member; `inputs`, `steps` and
 * `output` are replaced whole, because null means something within them. A changed definition becomes the next version.
 */
export async function updateRecipe(
  ctx: ServiceContext,
  idOrSlug: string,
  patch: Record<string, unknown>,
  ifMatch: string | null = null,
): Promise<Recipe> {
  const withSchedules = 'cron_schedule' in patch || 'timezone' in patch
  const saved = await saving(ctx, async (tx) => {
    const stored = await lockMatching(tx, ctx, idOrSlug, ifMatch, { withSchedules })
    const { definition, cron, timezone } = parseRecipeInput(merged(stored, patch), await databaseNow(tx))
    const row = await saveDefinition(tx, ctx, stored, definition)
    await saveSchedule(tx, ctx, row, cron, timezone)
    const recipe = await toAnswer(tx, row, definition)
    await recordChange(tx, ctx, stored.row, row, 'recipe.updated', withSchedules ? recipe.cron_schedule : undefined)
    return { definition, recipe }
  })
  if (withSchedules) ctx.wake.schedulesChanged()
  const warnings = await warningsFor(ctx, saved.definition)
  return warnings.length > 0 ? { ...saved.recipe, warnings } : saved.recipe
}

/** Makes an older version the latest again, as a new version: history only grows. */
export async function restoreVersion(
  ctx: ServiceContext,
  idOrSlug: string,
  version: number,
  ifMatch: string | null = null,
): Promise<Recipe> {
  return saving(ctx, async (tx) => {
    const stored = await lockMatching(tx, ctx, idOrSlug, ifMatch, { withSchedules: false })
    const older = await tx
      .selectFrom('recipe_versions')
      .select('definition')
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('recipe_id', '=', stored.row.id)
      .where('version', '=', version)
      .executeTakeFirst()
    if (!older) throw new AppError('not-found', `There is no version ${version} of this recipe.`)
    const definition = asDefinition(older.definition)
    const row = await saveDefinition(tx, ctx, stored, definition)
    const recipe = await toAnswer(tx, row, definition)
    await recordChange(tx, ctx, stored.row, row, 'recipe.version_restored')
    return recipe
  })
}

/** Running runs go on, on the version that they began with; its schedules end. */
export async function deleteRecipe(
  ctx: ServiceContext,
  idOrSlug: string,
  ifMatch: string | null = null,
): Promise<void> {
  await ctx.db.transaction().execute(async (tx) => {
    const { row } = await lockMatching(tx, ctx, idOrSlug, ifMatch, { withSchedules: true })
    await tx
      .updateTable('workflow_recipes')
      .set({ deleted_at: sql<Date>`app_now()` })
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('id', '=', row.id)
      .execute()
    await tx
      .deleteFrom('schedules')
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('recipe_id', '=', row.id)
      .execute()
    await recordAudit(tx, ctx, {
      action: 'recipe.deleted',
      target: { type: 'recipe', id: row.id },
      before: { slug: row.slug, version: row.version },
    })
  })
  ctx.wake.schedulesChanged()
}

/** A save that changed nothing is no act. */
async function recordChange(
  tx: Transaction<Database>,
  ctx: ServiceContext,
  before: RecipeRow,
  after: RecipeRow,
  action: string,
  cronSchedule?: string | null,
): Promise<void> {
  if (before === after && cronSchedule === undefined) return
  await recordAudit(tx, ctx, {
    action,
    target: { type: 'recipe', id: after.id },
    before: { slug: before.slug, version: before.version },
    after: {
      slug: after.slug,
      version: after.version,
      ...(cronSchedule !== undefined && { cron_schedule: cronSchedule }),
    },
  })
}

/** The tag tells of the default schedule too, so who asks for one holds the schedules as well. */
async function lockMatching(
  tx: Transaction<Database>,
  ctx: ServiceContext,
  idOrSlug: string,
  ifMatch: string | null,
  { withSchedules }: { withSchedules: boolean },
): Promise<StoredRecipe> {
  const stored = await lockRecipe(tx, ctx.actor.workspaceId, idOrSlug, {
    withSchedules: withSchedules || ifMatch !== null,
  })
  if (ifMatch !== null) requireMatch(ifMatch, recipeTag(toRecipe(stored, await defaultScheduleOf(tx, stored.row))))
  return stored
}

async function saving<T>(ctx: ServiceContext, save: (tx: Transaction<Database>) => Promise<T>): Promise<T> {
  try {
    return await ctx.db.transaction().execute(save)
  } catch (error) {
    if (!slugTaken(error)) throw error
    throw new AppError('conflict', 'This slug is taken.', { errors: [{ pointer: '/slug', detail: 'is taken' }] })
  }
}

function merged({ row, definition }: StoredRecipe, patch: Record<string, unknown>): Record<string, unknown> {
  const result: Record<string, unknown> = { ...definition, slug: row.slug }
  for (const [name, value] of Object.entries(patch)) {
    if (value === null && name !== 'cron_schedule' && name !== 'slug') delete result[name]
    else if (name === 'settings') result[name] = mergePatch(definition.settings, value)
    else result[name] = value
  }
  return result
}

async function saveDefinition(
  tx: Transaction<Database>,
  ctx: ServiceContext,
  { row, hash }: StoredRecipe,
  definition: RecipeDefinition,
): Promise<RecipeRow> {
  const content = toVersionContent(definition)
  const slug = definition.slug ?? row.slug
  const isSame = hashOf(content) === hash
  if (isSame && slug === row.slug) return row
  const version = isSame ? row.version : row.version + 1
  if (!isSame) await insertVersion(tx, ctx.actor, row.id, version, content)
  return tx
    .updateTable('workflow_recipes')
    .set({
      slug,
      name: content.name,
      description: content.description ?? null,
      version,
      updated_at: sql<Date>`app_now()`,
    })
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('id', '=', row.id)
    .returningAll()
    .executeTakeFirstOrThrow()
}

async function saveSchedule(
  tx: Transaction<Database>,
  ctx: ServiceContext,
  row: RecipeRow,
  cron: string | null | undefined,
  timezone: string | undefined,
): Promise<void> {
  if (cron === undefined && timezone === undefined) return
  const kept = cron === undefined ? (await defaultScheduleOf(tx, row))?.cron : cron
  if (timezone !== undefined && typeof kept !== 'string') {
    throw invalidRecipe([{ pointer: '/timezone', detail: 'goes with cron_schedule only' }])
  }
  await upsertDefaultSchedule(tx, ctx, {
    recipeId: row.id,
    cron: kept ?? null,
    ...(timezone === undefined ? {} : { timezone }),
  })
}

async function toAnswer(tx: Transaction<Database>, row: RecipeRow, definition: RecipeDefinition): Promise<Recipe> {
  return toRecipe({ row, definition, hash: '' }, await defaultScheduleOf(tx, row))
}
