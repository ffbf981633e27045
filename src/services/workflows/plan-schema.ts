import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { planTitle } from '../models/offline/plan.ts'
import { recipeJsonSchema } from '../recipes/schema-document.ts'
import { maxPlanSteps, notThePlanners, plannerKinds } from './compile-plan.ts'

const members = ['name', 'description', 'steps', 'output']
let schema: JsonObject | undefined

/** The form of the planner's answer: the recipe format itself, less what is not the planner's to say. */
export function planSchema(): JsonObject {
  schema ??= makeSchema()
  return schema
}

function makeSchema(): JsonObject {
  const { $schema: _dialect, $id: _id, properties, ...recipe } = recipeJsonSchema()
  const known = isObject(properties) ? (properties as JsonObject) : {}
  const kept = Object.fromEntries(Object.entries(known).filter(([name]) => members.includes(name)))
  const steps = isObject(kept['steps']) ? kept['steps'] : {}
  return narrowed({
    ...recipe,
    title: planTitle,
    description: 'The steps that reach the goal.',
    properties: { ...kept, steps: { ...steps, minItems: 1, maxItems: maxPlanSteps } },
    required: ['name', 'steps'],
  } as JsonObject) as JsonObject
}

/** Kinds of step that plans do not have, and members that they may not set, are left out wherever steps are described. */
function narrowed(value: Json): Json {
  if (Array.isArray(value)) return value.map(narrowed)
  if (!isObject(value)) return value
  const entries = Object.entries(value as JsonObject).map(([key, item]): [string, Json] => {
    if (key !== 'oneOf' || !Array.isArray(item) || !item.every((each) => kindOf(each) !== null))
      return [key, narrowed(item)]
    const kinds = item.filter((each) => (plannerKinds as readonly string[]).includes(kindOf(each)!))
    return [key, kinds.map((each) => narrowed(withoutMembers(each as JsonObject)))]
  })
  return Object.fromEntries(entries)
}

/** Null for what describes no step. */
function kindOf(value: Json): string | null {
  if (!isObject(value) || !isObject(value['properties']) || !isObject(value['properties']['kind'])) return null
  const kind = value['properties']['kind']['const']
  return typeof kind === 'string' ? kind : null
}

function withoutMembers({ properties, ...step }: JsonObject): JsonObject {
  const kept = Object.entries(properties as JsonObject).filter(([name]) => !notThePlanners.includes(name))
  return { ...step, properties: Object.fromEntries(kept) }
}
