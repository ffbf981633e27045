import { z } from 'zod'
import type { JsonObject } from '../../lib/json.ts'
import { recipeDefinitionSchema } from './definition.ts'

let document: JsonObject | undefined

/** The recipe format as JSON Schema (draft 2020-12), for editors. Made from the schema that validates. */
export function recipeJsonSchema(): JsonObject {
  document ??= {
    $id: '/schemas/recipe.json',
    title: 'Recipe',
    description: 'A recipe of Automatos Orchestrator: steps that run in order, with inputs and policies.',
    ...(z.toJSONSchema(recipeDefinitionSchema, {
      target: 'draft-2020-12',
      // Trees take any JSON value, which the schema says by saying nothing.
      unrepresentable: 'any',
    }) as JsonObject),
  }
  return document
}
