import { isObject, type JsonObject } from '../../lib/json.ts'
import { planTitle } from '../models/offline/plan.ts'
import { recipeJsonSchema } from '../recipes/schema-document.ts'
import { maxPlanSteps } from './compile-plan.ts'

const members = ['name', 'description', 'steps', 'output']
let schema: JsonObject | undefined

/** The form of the planner's answer: the recipe format itself, less the members that are not the planner's to say. */
export function planSchema(): JsonObject {
  schema ??= makeSchema()
  return schema
}

function makeSchema(): JsonObject {
  const { $schema: _dialect, $id: _id, properties, ...recipe } = recipeJsonSchema()
  const known = isObject(properties) ? (properties as JsonObject) : {}
  const kept = Object.fromEntries(Object.entries(known).filter(([name]) => members.includes(name)))
  const steps = isObject(kept['steps']) ? kept['steps'] : {}
  return {
    ...recipe,
    title: planTitle,
    description: 'The steps that reach the goal.',
    properties: { ...kept, steps: { ...steps, minItems: 1, maxItems: maxPlanSteps } },
    required: ['name', 'steps'],
  } as JsonObject
}
