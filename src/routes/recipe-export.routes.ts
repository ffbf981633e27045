import { z } from '@hono/zod-openapi'
import { stringify } from 'yaml'
import { entityTag } from '../lib/etag.ts'
import { operation, type Reply, type RouteGroup } from '../lib/operation.ts'
import { exportRecipe } from '../services/recipes.service.ts'
import { definitionExample, ExportedRecipe, recipeParams } from './recipes.schemas.ts'
import { linkTo } from './signed-link.ts'

const prefix = '/api/workflow-recipes'

const exportOperation = operation(
  {
    operationId: 'exportRecipe',
    method: 'get',
    path: '/{recipe}/export',
    summary: 'Export a recipe',
    description:
      'The latest definition on its own, ready to be created elsewhere: by `POST /api/workflow-recipes` as JSON, by `automatos recipe apply` as either. Schedules are not part of it.',
    access: 'recipes:read',
    ticket: true,
    etag: 'read',
    params: recipeParams,
    query: z.object({
      format: z.enum(['json', 'yaml']).default('json').openapi({ description: 'Of the file.', example: 'json' }),
    }),
    responses: {
      200: {
        description: 'The definition.',
        schema: ExportedRecipe,
        headers: { 'Content-Disposition': 'A file name for browsers.' },
        example: definitionExample,
        alternatives: { 'application/yaml': { schema: z.string(), example: stringify(definitionExample) } },
      },
    },
    problems: ['not-found'],
  },
  async (ctx, { params, query: { format } }): Promise<Reply> => {
    const definition = await exportRecipe(ctx, params.recipe)
    return {
      status: 200,
      headers: {
        etag: entityTag({ definition, format }),
        'content-disposition': `attachment; filename="${definition.slug ?? 'recipe'}.recipe.${format}"`,
      },
      contentType: `application/${format}`,
      body: format === 'yaml' ? stringify(definition, { lineWidth: 100 }) : definition,
    }
  },
)

export const recipeExportRoutes: RouteGroup = {
  prefix,
  tag: 'Recipes',
  description: 'Definitions as files.',
  operations: [
    exportOperation,
    linkTo(prefix, exportOperation, {
      operationId: 'createExportLink',
      summary: 'Get an address that the definition of a recipe can be downloaded from',
      name: 'link',
      check: (ctx, { recipe }) => exportRecipe(ctx, recipe!),
    }),
  ],
}
