import { z } from '@hono/zod-openapi'
import { entityTag } from '../lib/etag.ts'
import { operation, reply, type Operation, type RouteGroup } from '../lib/operation.ts'
import { pageQuery } from '../lib/pagination.ts'
import {
  createRecipe,
  deleteRecipe,
  diffVersions,
  getRecipe,
  getVersion,
  listRecipes,
  listVersions,
  recipeTag,
  restoreVersion,
  updateRecipe,
  validateRecipe,
} from '../services/recipes.service.ts'
import {
  definitionExample,
  diffQuery,
  listFilter,
  Recipe,
  RecipeCandidate,
  RecipeDiff,
  recipeExample,
  RecipeInput,
  recipeInputExample,
  RecipeList,
  recipeListExample,
  recipeParams,
  RecipePatch,
  RecipeVerdict,
  RecipeVersion,
  RecipeVersionList,
  versionExample,
  versionParams,
} from './recipes.schemas.ts'

/** PUT does what PATCH does, for clients that save a recipe whole. */
const update = (method: 'patch' | 'put'): Operation =>
  operation(
    {
      operationId: method === 'patch' ? 'updateRecipe' : 'saveRecipe',
      method,
      path: '/{recipe}',
      summary: method === 'patch' ? 'Change a recipe' : 'Save a recipe (the same as PATCH)',
      description:
        'Members that are sent change, null takes one away. `settings` merges member by member; `inputs`, `steps` and ' +
        '`output` are replaced whole. A changed definition becomes the next version, an equal one does not.',
      access: 'recipes:write',
      params: recipeParams,
      body: RecipePatch,
      bodyExample: { description: 'Ten headlines, every working day.', cron_schedule: '30 6 * * 1-5' },
      responses: { 200: { description: 'The recipe at its latest version.', schema: Recipe, example: recipeExample } },
      etag: 'change',
      problems: ['not-found', 'conflict'],
    },
    async (ctx, { params, body, request }) => {
      const recipe = await updateRecipe(ctx, params.recipe, body, request.headers.get('if-match'))
      return reply(200, recipe, { etag: recipeTag(recipe) })
    },
  )

export const recipesRoutes: RouteGroup = {
  prefix: '/api/workflow-recipes',
  tag: 'Recipes',
  description: 'Definitions of steps, kept in immutable versions. The format is described in `docs/recipes.md`.',
  operations: [
    operation(
      {
        operationId: 'createRecipe',
        method: 'post',
        path: '/',
        summary: 'Create a recipe',
        description: 'Takes what export gives. Every fault of the definition is listed at once, by JSON pointer.',
        access: 'recipes:write',
        idempotent: 'stored',
        body: RecipeInput,
        bodyExample: recipeInputExample,
        responses: {
          201: {
            description: 'The recipe, at version 1.',
            schema: Recipe,
            headers: { location: 'The address of the recipe.' },
            example: recipeExample,
          },
        },
        etag: 'create',
        problems: ['conflict', 'limit-reached'],
      },
      async (ctx, { body }) => {
        const recipe = await createRecipe(ctx, body)
        return reply(201, recipe, { location: `/api/workflow-recipes/${recipe.slug}`, etag: recipeTag(recipe) })
      },
    ),
    operation(
      {
        operationId: 'listRecipes',
        method: 'get',
        path: '/',
        summary: 'List the recipes of the workspace',
        access: 'recipes:read',
        query: z.object({ ...pageQuery, ...listFilter }),
        responses: {
          200: {
            description: 'Recipes without their definitions, newest first.',
            schema: RecipeList,
            example: recipeListExample,
          },
        },
      },
      async (ctx, { query }) => reply(200, await listRecipes(ctx, query)),
    ),
    operation(
      {
        operationId: 'validateRecipe',
        method: 'post',
        path: '/validate',
        summary: 'Check a recipe without saving it',
        description: 'Answers 200 for any JSON: the verdict is the answer.',
        access: 'recipes:read',
        body: RecipeCandidate,
        bodyExample: {
          name: 'Retry too much',
          steps: [{ id: 'a', kind: 'transform', value: 1, retry: { max_attempts: 21 } }],
        },
        responses: {
          200: {
            description: 'Every fault, or none.',
            schema: RecipeVerdict,
            example: {
              valid: false,
              errors: [{ pointer: '/steps/0/retry/max_attempts', detail: 'must be at most 20' }],
              warnings: [],
            },
          },
        },
      },
      async (ctx, { body }) => reply(200, await validateRecipe(ctx, body)),
    ),
    operation(
      {
        operationId: 'getRecipe',
        method: 'get',
        path: '/{recipe}',
        summary: 'Read a recipe at its latest version',
        access: 'recipes:read',
        params: recipeParams,
        responses: { 200: { description: 'The recipe.', schema: Recipe, example: recipeExample } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params }) => {
        const recipe = await getRecipe(ctx, params.recipe)
        return reply(200, recipe, { etag: recipeTag(recipe) })
      },
    ),
    update('patch'),
    update('put'),
    operation(
      {
        operationId: 'deleteRecipe',
        method: 'delete',
        path: '/{recipe}',
        summary: 'Delete a recipe',
        description: 'Its schedules end with it. Executions that have begun go on.',
        access: 'recipes:write',
        params: recipeParams,
        responses: { 204: { description: 'The recipe is gone.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params, request }) => {
        await deleteRecipe(ctx, params.recipe, request.headers.get('if-match'))
        return reply(204)
      },
    ),
    operation(
      {
        operationId: 'listRecipeVersions',
        method: 'get',
        path: '/{recipe}/versions',
        summary: 'List the versions of a recipe',
        access: 'recipes:read',
        params: recipeParams,
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Versions without their definitions, newest first.',
            schema: RecipeVersionList,
            example: { items: [versionExample], next_cursor: null },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params, query }) => reply(200, await listVersions(ctx, params.recipe, query)),
    ),
    operation(
      {
        operationId: 'getRecipeVersion',
        method: 'get',
        path: '/{recipe}/versions/{version}',
        summary: 'Read one version of a recipe',
        access: 'recipes:read',
        params: versionParams,
        responses: {
          200: {
            description: 'The version with its definition.',
            schema: RecipeVersion,
            example: { recipe_id: recipeExample.id, ...versionExample, definition: definitionExample },
          },
        },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params }) => {
        const found = await getVersion(ctx, params.recipe, params.version)
        return reply(200, found, { etag: entityTag([found.recipe_id, found.version]) })
      },
    ),
    operation(
      {
        operationId: 'restoreRecipeVersion',
        method: 'post',
        path: '/{recipe}/versions/{version}/restore',
        summary: 'Make an older version the latest again',
        description: 'Makes a new version that equals the older one; the slug and the schedules stay.',
        access: 'recipes:write',
        idempotent: 'stored',
        params: versionParams,
        responses: { 200: { description: 'The recipe at its new version.', schema: Recipe, example: recipeExample } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params, request }) => {
        const recipe = await restoreVersion(ctx, params.recipe, params.version, request.headers.get('if-match'))
        return reply(200, recipe, { etag: recipeTag(recipe) })
      },
    ),
    operation(
      {
        operationId: 'diffRecipeVersions',
        method: 'get',
        path: '/{recipe}/diff',
        summary: 'Compare two versions of a recipe',
        description: 'Steps are told apart by their ids: one that only changed its place is shown as moved.',
        access: 'recipes:read',
        params: recipeParams,
        query: diffQuery,
        responses: {
          200: {
            description: 'What changed, by JSON pointer.',
            schema: RecipeDiff,
            example: {
              from: 1,
              to: 2,
              changes: [{ op: 'replace', pointer: '/steps/0/retry/max_attempts', from: 3, to: 4 }],
            },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params, query }) => reply(200, await diffVersions(ctx, params.recipe, query)),
    ),
  ],
}
