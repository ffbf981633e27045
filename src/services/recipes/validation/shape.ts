import type { z } from 'zod'
import type { Fault } from '../../../lib/errors.ts'
import { atPointer, pointerTo, toPointer } from '../../../lib/pointer.ts'
import { recipeDefinitionSchema, stepKinds, type RecipeDefinition } from '../definition.ts'

/** Parts of the recipe format that this version does not have yet, so that nobody hunts for a typing error. */
const laterFields = new Set(['concurrency', 'state_key'])
const laterKinds = new Set(['document'])

/** More than are told of, of which some are the same. */
const maxIssues = 1_000

/** Every fault of the shape: fields, types, ranges. */
export function checkShape(json: unknown): { definition: RecipeDefinition | null; faults: Fault[] } {
  const parsed = recipeDefinitionSchema.safeParse(json)
  if (parsed.success) return { definition: parsed.data, faults: [] }
  return { definition: null, faults: parsed.error.issues.slice(0, maxIssues).flatMap((issue) => toFaults(issue, json)) }
}

function toFaults(issue: z.core.$ZodIssue, json: unknown): Fault[] {
  const pointer = toPointer(issue.path)
  const input = atPointer(json, pointer)
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({
        pointer: pointerTo(pointer, key),
        detail: laterFields.has(key) ? 'is not supported by this version' : `is not a field of ${ownerOf(input)}`,
      }))
    case 'invalid_type':
      return [{ pointer, detail: input === undefined ? 'is required' : typeFault(issue) }]
    case 'invalid_union':
      return [{ pointer, detail: 'discriminator' in issue ? kindFault(input) : issue.message }]
    case 'invalid_value':
      return [{ pointer, detail: input === undefined ? 'is required' : valueFault(issue) }]
    case 'too_small':
      return [
        {
          pointer,
          detail:
            issue.minimum === 1 && issue.origin !== 'number' && issue.origin !== 'int'
              ? 'must not be empty'
              : `must ${bound('least', issue.minimum, issue.origin)}`,
        },
      ]
    case 'too_big':
      return [{ pointer, detail: `must ${bound('most', issue.maximum, issue.origin)}` }]
    case 'invalid_key':
      return [{ pointer, detail: issue.issues[0]?.message ?? 'is not an allowed name' }]
    default:
      return [{ pointer, detail: issue.message }]
  }
}

/** A message of our own stands; one of the library's is put in the words of JSON. */
function typeFault({ expected, message }: z.core.$ZodIssueInvalidType): string {
  return message.startsWith('must ') ? message : (typeWords[expected] ?? message)
}

const typeWords: Record<string, string> = {
  string: 'must be a text',
  number: 'must be a number',
  int: 'must be a whole number',
  boolean: 'must be true or false',
  array: 'must be a list',
  object: 'must be an object',
  record: 'must be an object',
}

function kindFault(kind: unknown): string {
  if (kind === undefined) return `is required: one of ${stepKinds.join(', ')}`
  if (typeof kind === 'string' && laterKinds.has(kind)) return `${kind} is not supported by this version`
  if (typeof kind === 'object' || typeof kind === 'number') return 'must be a step object'
  return `must be one of ${stepKinds.join(', ')}`
}

function valueFault(issue: z.core.$ZodIssueInvalidValue): string {
  if (issue.values.length > 1) return `must be one of ${issue.values.join(', ')}`
  return issue.message
}

function bound(which: 'least' | 'most', limit: number | bigint, origin: string): string {
  if (origin === 'string') return `have at ${which} ${limit} characters`
  if (origin === 'array') return `have at ${which} ${limit} items`
  return `be at ${which} ${limit}`
}

function ownerOf(input: unknown): string {
  const kind = typeof input === 'object' && input !== null && 'kind' in input ? input.kind : undefined
  if (typeof kind === 'string' && (stepKinds as readonly string[]).includes(kind)) return `a step of kind ${kind}`
  return typeof input === 'object' && input !== null && 'steps' in input && 'name' in input ? 'a recipe' : 'this object'
}
