import type { Kysely, Selectable, Transaction } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { WorkflowRecipesTable } from '../../db/tables/recipes.table.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import { slugPattern, type RecipeDefinition } from './definition.ts'

export type RecipeRow = Selectable<WorkflowRecipesTable>
/** A recipe at its latest version. */
export interface StoredRecipe {
  row: RecipeRow
  definition: RecipeDefinition
  hash: string
}

export const recipeNotFound = (idOrSlug: string): AppError =>
  new AppError('not-found', `There is no recipe '${idOrSlug.slice(0, 100)}'.`)

function selectRecipe(db: Kysely<Database>, workspaceId: string, idOrSlug: string, version?: number) {
  return db
    .selectFrom('workflow_recipes as w')
    .innerJoin('recipe_versions as v', (join) =>
      version === undefined
        ? join.onRef('v.recipe_id', '=', 'w.id').onRef('v.version', '=', 'w.version')
        : join.onRef('v.recipe_id', '=', 'w.id').on('v.version', '=', version),
    )
    .selectAll('w')
    .select(['v.definition', 'v.hash'])
    .where('w.workspace_id', '=', workspaceId)
    .where(isUuid(idOrSlug) ? 'w.id' : 'w.slug', '=', idOrSlug)
    .where('w.deleted_at', 'is', null)
}

type JoinedRow = NonNullable<Awaited<ReturnType<ReturnType<typeof selectRecipe>['executeTakeFirst']>>>

/** Anything else names no recipe, and may hold what the database refuses to compare with. */
const isReference = (text: string): boolean => isUuid(text) || slugPattern.test(text)

const toStored = ({ definition, hash, ...row }: JoinedRow): StoredRecipe => ({
  row,
  definition: asDefinition(definition),
  hash,
})

/** Only validated definitions are ever written. */
export const asDefinition = (stored: object): RecipeDefinition => stored as RecipeDefinition

/** A recipe of the workspace; a foreign one answers as a missing one does. */
export async function findRecipe(db: Kysely<Database>, workspaceId: string, idOrSlug: string): Promise<StoredRecipe> {
  const row = isReference(idOrSlug) ? await selectRecipe(db, workspaceId, idOrSlug).executeTakeFirst() : undefined
  if (!row) throw recipeNotFound(idOrSlug)
  return toStored(row)
}

/**
 * Held until the transaction ends, so that saves follow one another. Who means to touch the schedules too takes them first,
 * as everything that starts from a schedule does; the other order could deadlock with it.
 */
export async function lockRecipe(
  tx: Transaction<Database>,
  workspaceId: string,
  idOrSlug: string,
  { withSchedules }: { withSchedules: boolean },
): Promise<StoredRecipe> {
  const found = await findRecipe(tx, workspaceId, idOrSlug)
  const { id } = found.row
  if (withSchedules) {
    await tx
      .selectFrom('schedules')
      .select('id')
      .where('workspace_id', '=', workspaceId)
      .where('recipe_id', '=', id)
      .orderBy('id')
      .forUpdate()
      .execute()
  }
  await tx
    .selectFrom('workflow_recipes')
    .select('id')
    .where('workspace_id', '=', workspaceId)
    .where('id', '=', id)
    // Not the stronger lock: that one would hold up every run that is inserted meanwhile and refers to the recipe.
    .forNoKeyUpdate()
    .execute()
  // Read again under the lock: another save may have come in between.
  return findRecipe(tx, workspaceId, id)
}

/** What a run is pinned to: the latest version of a recipe, or the one that is named. */
export async function loadRecipeForRun(
  db: Kysely<Database>,
  workspaceId: string,
  idOrSlug: string,
  version?: number,
): Promise<{ id: string; slug: string; version: number; definition: RecipeDefinition } | null> {
  if (!isReference(idOrSlug)) return null
  const row = await selectRecipe(db, workspaceId, idOrSlug, version).executeTakeFirst()
  return row
    ? { id: row.id, slug: row.slug, version: version ?? row.version, definition: asDefinition(row.definition) }
    : null
}
