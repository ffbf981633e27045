import { z } from '@hono/zod-openapi'
import { pageOf } from '../lib/pagination.ts'

const schemaLink = 'The whole format, as JSON Schema, is at `/schemas/recipe.json`.'

export const definitionExample = {
  name: 'Morning digest',
  slug: 'morning-digest',
  inputs: { type: 'object', properties: { feed_url: { type: 'string', default: 'https://news.example/feed.xml' } } },
  steps: [
    {
      id: 'fetch',
      kind: 'http',
      request: { method: 'GET', url: '{{ input.feed_url }}' },
      parse: 'feed',
      retry: { max_attempts: 4 },
    },
    {
      id: 'each',
      kind: 'foreach',
      items: { $expr: 'steps.fetch.output.body.items.slice(0, 10)' },
      as: 'item',
      steps: [{ id: 'note', kind: 'agent', agent: 'summarizer', prompt: 'Summarize: {{ item.title }}' }],
    },
  ],
  output: { $expr: 'steps.each.output' },
  settings: { timeout: '1h' },
}
export const recipeInputExample = { ...definitionExample, cron_schedule: '0 7 * * 1-5', timezone: 'Europe/Vienna' }

const summaryExample = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
  slug: 'morning-digest',
  name: 'Morning digest',
  description: null,
  version: 1,
  cron_schedule: '0 7 * * 1-5',
  timezone: 'Europe/Vienna',
  created_at: '2026-11-22T08:00:00.000Z',
  updated_at: '2026-11-22T08:00:00.000Z',
}
export const recipeExample = {
  ...summaryExample,
  inputs: definitionExample.inputs,
  steps: definitionExample.steps,
  output: definitionExample.output,
  settings: definitionExample.settings,
  next_slots: [{ slot_at: '2026-11-23T06:00:00.000Z', local: '2026-11-23T07:00:00+01:00', dst_day: false, dst: null }],
}
export const recipeListExample = { items: [summaryExample], next_cursor: null }

// What a definition must be is the service's to say, with every fault at once: here it is described, not checked.
type JsonType = 'string' | 'object' | 'array' | 'null'
const described = (type: JsonType | JsonType[], description: string) =>
  z.unknown().optional().openapi({ type, description })
const steps = z
  .unknown()
  .optional()
  .openapi({ type: 'array', items: { type: 'object' }, description: 'The steps, in order.' })
const members = {
  name: described('string', 'For people.'),
  slug: described('string', 'Name in URLs. Default: made from the name.'),
  description: described(['string', 'null'], 'For people.'),
  inputs: described(['object', 'null'], 'JSON Schema of what a run is given as `input_data`.'),
  steps,
  output: z
    .unknown()
    .optional()
    .openapi({ description: 'The output of a run: a JSON value with templates and expressions.' }),
  settings: described(['object', 'null'], 'Bounds of a run, and what follows its failure.'),
  cron_schedule: described(['string', 'null'], 'Short way to a schedule: cron with 5 or 6 fields. Null removes it.'),
  timezone: described('string', 'IANA zone of `cron_schedule`. Default UTC.'),
}
export const RecipeInput = z
  .looseObject(members)
  .openapi('RecipeInput', { required: ['name', 'steps'], description: `A recipe. ${schemaLink}` })
export const RecipePatch = z
  .looseObject(members)
  .openapi('RecipePatch', { required: [], description: `The members of a recipe to change. ${schemaLink}` })

/** Takes anything: whether it is a recipe is the answer, not a condition of asking. */
export const RecipeCandidate = z
  .unknown()
  .openapi('RecipeCandidate', { description: `A recipe, or what should be one. ${schemaLink}` })

const JsonObject = z.record(z.string(), z.unknown())
const Step = z.looseObject({ id: z.string(), kind: z.string() }).openapi('RecipeStep')
const Notice = z.object({ pointer: z.string(), detail: z.string() }).openapi('RecipeNotice')
const SlotPreview = z
  .object({
    slot_at: z.iso.datetime(),
    local: z.string(),
    dst_day: z.boolean(),
    dst: z.enum(['shifted', 'first_of_two', 'second_of_two']).nullable(),
  })
  .openapi('RecipeSlot')

const summary = {
  id: z.uuid(),
  slug: z.string(),
  name: z.string(),
  description: z.string().nullable(),
  version: z.int().openapi({ description: 'The latest version.' }),
  cron_schedule: z.string().nullable(),
  timezone: z.string().nullable(),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
}
const RecipeSummary = z.object(summary).openapi('RecipeSummary')
export const RecipeList = pageOf(RecipeSummary).openapi('RecipeList')
export const Recipe = z
  .object({
    ...summary,
    inputs: JsonObject.nullable(),
    steps: z.array(Step),
    output: z.unknown().optional().openapi({ description: 'Absent where the definition names none.' }),
    settings: JsonObject.nullable(),
    next_slots: z.array(SlotPreview).openapi({ description: 'The next slots of `cron_schedule`.' }),
    warnings: z
      .array(Notice)
      .optional()
      .openapi({ description: 'On a write: what the recipe names and the workspace lacks.' }),
  })
  .openapi('Recipe')
export const RecipeVerdict = z
  .object({ valid: z.boolean(), errors: z.array(Notice), warnings: z.array(Notice) })
  .openapi('RecipeVerdict')

const Definition = z
  .looseObject({ name: z.string(), steps: z.array(Step) })
  .openapi('RecipeDefinition', { description: schemaLink })
export const ExportedRecipe = Definition

const version = {
  version: z.int(),
  hash: z.string().openapi({ description: 'SHA-256 of the canonical JSON of the definition.' }),
  created_by: z.string().nullable(),
  created_at: z.iso.datetime(),
}
export const RecipeVersionList = pageOf(z.object(version).openapi('RecipeVersionSummary')).openapi('RecipeVersionList')
export const RecipeVersion = z
  .object({ recipe_id: z.uuid(), ...version, definition: Definition })
  .openapi('RecipeVersion')
export const versionExample = {
  version: 1,
  hash: '7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730',
  created_by: 'key:01939f3c-0000-7000-8000-000000000000',
  created_at: '2026-11-22T08:00:00.000Z',
}

const RecipeChange = z
  .object({
    op: z.enum(['add', 'remove', 'replace', 'move']),
    pointer: z.string().openapi({ description: 'Place in the newer version; of a removal, in the older one.' }),
    from_pointer: z.string().optional().openapi({ description: 'Of a move: the place in the older version.' }),
    from: z.unknown().optional(),
    to: z.unknown().optional(),
  })
  .openapi('RecipeChange')
export const RecipeDiff = z.object({ from: z.int(), to: z.int(), changes: z.array(RecipeChange) }).openapi('RecipeDiff')

const versionNumber = z.coerce.number().int().min(1).max(2_147_483_647)
const recipe = z.string().max(100).openapi({ description: 'Slug or id.', example: 'morning-digest' })
export const recipeParams = z.object({ recipe })
export const versionParams = z.object({ recipe, version: versionNumber.openapi({ example: 1 }) })
export const diffQuery = z.object({
  from: versionNumber.openapi({ description: 'The older version.', example: 1 }),
  to: versionNumber.optional().openapi({ description: 'The newer version. Default: the latest.', example: 2 }),
})
export const listFilter = {
  q: z
    .string()
    .min(1)
    .max(200)
    .regex(/^[^\0]*$/, 'must not hold NUL characters')
    .optional()
    .openapi({ description: 'Part of the name, slug or description.' }),
}
