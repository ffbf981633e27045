import { z } from '@hono/zod-openapi'
import { operation, type RouteGroup } from '../lib/operation.ts'
import { recipeJsonSchema } from '../services/recipes.service.ts'

const JsonSchema = z.looseObject({ $id: z.string(), $schema: z.string() }).openapi('JsonSchema')

export const schemasRoutes: RouteGroup = {
  prefix: '/schemas',
  tag: 'Schemas',
  description: 'JSON Schemas of the files that people write, for editors.',
  operations: [
    operation(
      {
        operationId: 'getRecipeSchema',
        method: 'get',
        path: '/recipe.json',
        summary: 'JSON Schema of a recipe',
        description: 'Name it as `$schema` in a recipe, and an editor completes and checks what is written.',
        access: 'public',
        responses: {
          200: {
            description: 'The schema (draft 2020-12).',
            schema: JsonSchema,
            contentType: 'application/schema+json',
            headers: { 'cache-control': 'How long it may be kept.' },
            example: {
              $schema: 'https://json-schema.org/draft/2020-12/schema',
              $id: '/schemas/recipe.json',
              title: 'Recipe',
            },
          },
        },
      },
      () => ({
        status: 200,
        headers: { 'cache-control': 'public, max-age=300' },
        contentType: 'application/schema+json',
        body: recipeJsonSchema(),
      }),
    ),
  ],
}
