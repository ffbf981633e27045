import type { ServiceContext } from '../context.ts'
import { AppError } from '../lib/errors.ts'
import type { JsonObject } from '../lib/json.ts'
import { createRecipe } from './recipes/create-recipe.ts'
import type { RecipeDefinition } from './recipes/definition.ts'
import type { Recipe } from './recipes/view.ts'
import { content } from './templates/content.data.ts'
import { data } from './templates/data.data.ts'
import { monitoring } from './templates/monitoring.data.ts'
import { operations } from './templates/operations.data.ts'
import { support } from './templates/support.data.ts'
import { categories, type Category, type Template } from './templates/template.ts'

export { categoryNames } from './templates/template.ts'

export interface TemplateSummary {
  slug: string
  name: string
  category: Category
  description: string
  /** Names of the inputs that must be given. */
  required_inputs: string[]
  step_kinds: string[]
}
export interface TemplateView extends TemplateSummary {
  definition: RecipeDefinition
  example_input: JsonObject
}

const templates: readonly Template[] = [...monitoring, ...content, ...data, ...support, ...operations]

/** They ship with the product, so all of them are a page. */
export function listTemplates(
  filter: { category?: Category | undefined; q?: string | undefined } = {},
): TemplateSummary[] {
  const wanted = filter.q?.toLowerCase()
  return templates
    .filter(({ category }) => filter.category === undefined || category === filter.category)
    .map(toSummary)
    .filter(
      ({ slug, name, description }) =>
        wanted === undefined || `${slug} ${name} ${description}`.toLowerCase().includes(wanted),
    )
}

export function listCategories(): { name: Category; description: string; count: number }[] {
  return (Object.keys(categories) as Category[]).map((name) => ({
    name,
    description: categories[name],
    count: templates.filter(({ category }) => category === name).length,
  }))
}

export function getTemplate(slug: string): TemplateView {
  const template = find(slug)
  return {
    ...toSummary(template),
    definition: { slug: template.slug, ...template.definition },
    example_input: template.example,
  }
}

/** A recipe of one's own from a template: from then on it is changed like any other. */
export function instantiateTemplate(
  ctx: ServiceContext,
  slug: string,
  own: {
    name?: string | undefined
    slug?: string | undefined
  },
): Promise<Recipe> {
  const { definition } = find(slug)
  const given = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined))
  return createRecipe(ctx, { ...definition, ...given })
}

function find(slug: string): Template {
  const template = templates.find((each) => each.slug === slug)
  if (!template) throw new AppError('not-found', `There is no template '${slug.slice(0, 100)}'.`)
  return template
}

const toSummary = ({ slug, category, definition }: Template): TemplateSummary => ({
  slug,
  name: definition.name,
  category,
  description: definition.description,
  required_inputs: Array.isArray(definition.inputs['required']) ? definition.inputs['required'].map(String) : [],
  step_kinds: [...new Set(definition.steps.map(({ kind }) => kind))],
})
