import { sql, type Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import { validateJson } from '../../lib/json-schema.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { slugPattern } from '../recipes/definition.ts'

export interface ScheduledRecipe {
  id: string
  /** The JSON Schema of the recipe's inputs, where it declares any. */
  inputs: JsonObject | null
}

/** The recipe by id or slug, held against deletion until the transaction ends. A foreign one answers as a missing one. */
export async function lockRecipe(
  tx: Transaction<Database>,
  { actor }: Pick<ServiceContext, 'actor'>,
  idOrSlug: string,
): Promise<ScheduledRecipe> {
  const unknown = new AppError('not-found', `Recipe ${idOrSlug} does not exist.`)
  // Anything else names no recipe, and may hold what the database refuses to compare with.
  if (!isUuid(idOrSlug) && !slugPattern.test(idOrSlug)) throw unknown
  const recipe = await tx
    .selectFrom('workflow_recipes as w')
    .innerJoin('recipe_versions as v', (join) =>
      join.onRef('v.recipe_id', '=', 'w.id').onRef('v.version', '=', 'w.version'),
    )
    .select(['w.id', sql<JsonObject | null>`v.definition -> 'inputs'`.as('inputs')])
    .where('w.workspace_id', '=', actor.workspaceId)
    .where(isUuid(idOrSlug) ? 'w.id' : 'w.slug', '=', idOrSlug)
    .where('w.deleted_at', 'is', null)
    .forShare('w')
    .executeTakeFirst()
  if (!recipe) throw unknown
  return recipe
}

/** Faults of a schedule's input under the inputs of the latest version. */
export function inputFaults(recipe: ScheduledRecipe, input: Json, pointer: string): Fault[] {
  if (recipe.inputs === null) return []
  return validateJson(recipe.inputs, input).map((fault) => ({ ...fault, pointer: `${pointer}${fault.pointer}` }))
}
