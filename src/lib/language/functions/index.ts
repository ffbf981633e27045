import { dataFunctions } from './data.ts'
import { dateFunctions } from './dates.ts'
import type { FunctionTable } from './declare.ts'
import { listFunctions } from './lists.ts'
import { numberFunctions } from './numbers.ts'
import { textFunctions } from './text.ts'

/** Every function that an expression can call. Each has a line in docs/expressions.md and a golden test. */
export const functions: FunctionTable = {
  ...listFunctions,
  ...textFunctions,
  ...numberFunctions,
  ...dateFunctions,
  ...dataFunctions,
}
