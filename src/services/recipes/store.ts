import type { Kysely } from 'kysely'
import type { Actor } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import { isUniqueViolation } from '../../db/unique-violation.ts'
import { canonicalJson, sha256Hex } from '../../lib/canonical.ts'
import type { RecipeDefinition } from './definition.ts'

/** What a version holds: everything but the slug, which names the recipe whatever its version. */
export function toVersionContent(definition: RecipeDefinition): RecipeDefinition {
  const content = { ...definition }
  delete content.slug
  delete content.$schema
  return content
}

export const hashOf = (content: RecipeDefinition): string => sha256Hex(canonicalJson(content))

export async function insertVersion(
  db: Kysely<Database>,
  actor: Actor,
  recipeId: string,
  version: number,
  content: RecipeDefinition,
): Promise<void> {
  await db
    .insertInto('recipe_versions')
    .values({
      recipe_id: recipeId,
      version,
      workspace_id: actor.workspaceId,
      definition: jsonb(content),
      hash: hashOf(content),
      created_by: `${actor.kind}:${actor.id}`,
    })
    .execute()
}

export const slugTaken = (error: unknown): boolean =>
  isUniqueViolation(error) && String((error as { message?: unknown }).message).includes('workflow_recipes_slug')
