import type { JsonObject } from '../../lib/json.ts'
import type { RecipeDefinition } from '../recipes/definition.ts'

export const categories = {
  monitoring: 'Watches over pages, services and figures, and tells when something changes.',
  content: 'Reads, sums up, translates and drafts.',
  data: 'Fetches, computes and passes on.',
  support: 'Sorts what customers write, and drafts answers.',
  operations: 'Keeps routine work going.',
} as const
export type Category = keyof typeof categories
export const categoryNames = Object.keys(categories) as [Category, ...Category[]]

/** A starter recipe. Its inputs are documented in the definition's own JSON Schema. */
export interface Template {
  slug: string
  category: Category
  definition: RecipeDefinition & { description: string; inputs: JsonObject }
  /** An input that it runs with. */
  example: JsonObject
}

const uri = (description: string): JsonObject => ({ type: 'string', format: 'uri', description })
const text = (description: string): JsonObject => ({ type: 'string', minLength: 1, description })
const texts = (description: string, maxItems = 100): JsonObject => ({
  type: 'array',
  items: { type: 'string', minLength: 1 },
  minItems: 1,
  maxItems,
  description,
})
const uris = (description: string, maxItems = 50): JsonObject => ({
  type: 'array',
  items: { type: 'string', format: 'uri' },
  minItems: 1,
  maxItems,
  description,
})
const number = (description: string): JsonObject => ({ type: 'number', description })

export const field = { uri, text, texts, uris, number }

/** Inputs that hold what is named and nothing else. */
export const inputs = (properties: JsonObject, ...required: string[]): JsonObject => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
})

export const webhook = uri('Gets the result as a POST. Without it nothing is sent.')
/** Tells the webhook of the input, if there is one. */
export const tell = (id: string, body: JsonObject, when?: string) => ({
  id,
  kind: 'http' as const,
  name: 'Tell the webhook',
  when: when === undefined ? 'has(input.webhook_url)' : `has(input.webhook_url) && ${when}`,
  request: { method: 'POST' as const, url: '{{ input.webhook_url }}', body },
  retry: { max_attempts: 3 },
})
