import { z } from '@hono/zod-openapi'
import { entityTag } from '../lib/etag.ts'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { recipeTag } from '../services/recipes.service.ts'
import {
  categoryNames,
  getTemplate,
  instantiateTemplate,
  listCategories,
  listTemplates,
} from '../services/templates.service.ts'
import { Recipe, recipeExample } from './recipes.schemas.ts'

const category = z.enum(categoryNames).openapi('TemplateCategory')
const params = z.object({ template: z.string().openapi({ description: 'Slug of the template.' }) })

const summary = {
  slug: z.string(),
  name: z.string(),
  category,
  description: z.string(),
  required_inputs: z.array(z.string()),
  step_kinds: z.array(z.string()),
}
const Summary = z.object(summary).openapi('TemplateSummary')
const Template = z
  .object({
    ...summary,
    definition: z
      .looseObject({ name: z.string(), steps: z.array(z.looseObject({ id: z.string(), kind: z.string() })) })
      .openapi({ description: 'A recipe: `/schemas/recipe.json`. `inputs` documents what a run is given.' }),
    example_input: z.record(z.string(), z.unknown()).openapi({ description: 'An `input_data` that it runs with.' }),
  })
  .openapi('Template')

const { definition, example_input, ...summaryExample } = getTemplate('page-summary')
const example = { ...summaryExample, definition, example_input }
const list = z.object({ items: z.array(Summary), next_cursor: z.null() }).openapi('TemplateList')

export const workflowTemplatesRoutes: RouteGroup = {
  prefix: '/api/workflow-templates',
  tag: 'Templates',
  description: 'Starter recipes that ship with the product and run as they are.',
  operations: [
    operation(
      {
        operationId: 'listTemplates',
        method: 'get',
        path: '/',
        summary: 'List the templates',
        access: 'recipes:read',
        query: z.object({
          category: category.optional(),
          q: z.string().min(1).max(200).optional().openapi({ description: 'Part of the name or the description.' }),
        }),
        responses: {
          200: {
            description: 'All of them, by category.',
            schema: list,
            example: { items: [summaryExample], next_cursor: null },
          },
        },
      },
      async (_ctx, { query }) => reply(200, { items: listTemplates(query), next_cursor: null }),
    ),
    operation(
      {
        operationId: 'listTemplateCategories',
        method: 'get',
        path: '/categories',
        summary: 'List the categories of templates',
        access: 'recipes:read',
        responses: {
          200: {
            description: 'Categories with the number of their templates.',
            schema: z
              .object({
                items: z.array(z.object({ name: category, description: z.string(), count: z.int() })),
                next_cursor: z.null(),
              })
              .openapi('TemplateCategoryList'),
            example: { items: listCategories().slice(0, 1), next_cursor: null },
          },
        },
      },
      async () => reply(200, { items: listCategories(), next_cursor: null }),
    ),
    operation(
      {
        operationId: 'getTemplate',
        method: 'get',
        path: '/{template}',
        summary: 'Read a template with its definition',
        access: 'recipes:read',
        params,
        responses: { 200: { description: 'The template.', schema: Template, example } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (_ctx, { params }) => {
        const template = getTemplate(params.template)
        return reply(200, template, { etag: entityTag(template) })
      },
    ),
    operation(
      {
        operationId: 'useTemplate',
        method: 'post',
        path: '/{template}/use',
        summary: 'Make a recipe from a template',
        description: 'The recipe is yours from then on: change it, run it, put it on a schedule.',
        access: 'recipes:write',
        idempotent: 'stored',
        params,
        body: z
          .strictObject({
            name: z.string().trim().min(1).max(200).optional(),
            slug: z.string().max(100).optional().openapi({ description: 'Default: made from the name.' }),
          })
          .openapi('UseTemplate'),
        bodyOptional: true,
        bodyExample: { name: 'Summary of our front page', slug: 'front-page-summary' },
        responses: {
          201: {
            description: 'The recipe, at version 1.',
            schema: Recipe,
            headers: { location: 'The address of the recipe.' },
            example: recipeExample,
          },
        },
        etag: 'create',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, body }) => {
        const recipe = await instantiateTemplate(ctx, params.template, body)
        return reply(201, recipe, { location: `/api/workflow-recipes/${recipe.slug}`, etag: recipeTag(recipe) })
      },
    ),
  ],
}
