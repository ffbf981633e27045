import { diffJson, type Change } from '../../lib/json-diff.ts'
import type { Json } from '../../lib/json.ts'
import type { RecipeDefinition } from './definition.ts'

export type { Change }

// Definitions are JSON; their types only say which.
export const diffDefinitions = (from: RecipeDefinition, to: RecipeDefinition): Change[] =>
  diffJson(from as unknown as Json, to as unknown as Json)
