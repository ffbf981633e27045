import type { Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { AppError } from '../../lib/errors.ts'
import { toHex } from '../../lib/hex.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { numberedSlug, slugOf } from '../../lib/slug.ts'
import { recordAudit } from '../audit/record.ts'
import { upsertDefaultSchedule } from '../schedules/default-schedule.ts'
import { databaseNow } from '../schedules/timing.ts'
import { claimRoom } from '../workspaces/limits.ts'
import type { RecipeRow } from './find.ts'
import { invalidRecipe, parseRecipeInput } from './input.ts'
import { hashOf, insertVersion, toVersionContent } from './store.ts'
import { toRecipe, type Recipe } from './view.ts'
import { warningsFor } from './warnings.ts'

const maxNumbered = 20

/** Version 1 of a new recipe, with its schedule if one is given. An export goes in as it came out. */
export async function createRecipe(ctx: ServiceContext, value: unknown): Promise<Recipe> {
  const { definition, cron, timezone } = parseRecipeInput(value, await databaseNow(ctx.db))
  if (timezone !== undefined && typeof cron !== 'string') {
    throw invalidRecipe([{ pointer: '/timezone', detail: 'goes with cron_schedule only' }])
  }
  const warnings = await warningsFor(ctx, definition)
  const content = toVersionContent(definition)
  const recipe = await ctx.db.transaction().execute(async (tx) => {
    await claimRoom(tx, ctx.actor.workspaceId, 'recipes')
    const row = definition.slug
      ? await insertNamed(tx, ctx, definition.slug, content)
      : await insertNumbered(tx, ctx, slugOf(definition.name, 'recipe'), content)
    await insertVersion(tx, ctx.actor, row.id, row.version, content)
    const schedule =
      typeof cron === 'string'
        ? await upsertDefaultSchedule(tx, ctx, {
            recipeId: row.id,
            cron,
            ...(timezone === undefined ? {} : { timezone }),
          })
        : null
    const made = toRecipe({ row, definition: content, hash: hashOf(content) }, schedule)
    await recordAudit(tx, ctx, {
      action: 'recipe.created',
      target: { type: 'recipe', id: row.id },
      after: { slug: row.slug, version: row.version, hash: hashOf(content), cron_schedule: made.cron_schedule },
    })
    return made
  })
  if (recipe.cron_schedule !== null) ctx.wake.schedulesChanged()
  return warnings.length > 0 ? { ...recipe, warnings } : recipe
}

type Content = ReturnType<typeof toVersionContent>

async function insertNamed(
  tx: Transaction<Database>,
  ctx: ServiceContext,
  slug: string,
  content: Content,
): Promise<RecipeRow> {
  const row = await insertRow(tx, ctx, slug, content)
  if (!row)
    throw new AppError('conflict', `The slug ${slug} is taken.`, { errors: [{ pointer: '/slug', detail: 'is taken' }] })
  return row
}

async function insertNumbered(
  tx: Transaction<Database>,
  ctx: ServiceContext,
  slug: string,
  content: Content,
): Promise<RecipeRow> {
  for (let n = 1; n <= maxNumbered; n++) {
    const row = await insertRow(tx, ctx, numberedSlug(slug, n), content)
    if (row) return row
  }
  // So many of one name that counting on would only take longer each time.
  const suffix = toHex(ctx.random(5))
  return insertNamed(tx, ctx, `${slug.slice(0, 50)}-${suffix}`, content)
}

/** Undefined where the slug is taken: the unique index settles two requests that race for one. */
function insertRow(
  tx: Transaction<Database>,
  { actor }: ServiceContext,
  slug: string,
  content: Content,
): Promise<RecipeRow | undefined> {
  return tx
    .insertInto('workflow_recipes')
    .values({
      id: uuidv7(),
      workspace_id: actor.workspaceId,
      slug,
      name: content.name,
      description: content.description ?? null,
      version: 1,
    })
    .onConflict((conflict) => conflict.doNothing())
    .returningAll()
    .executeTakeFirst()
}
