/**
 * JSON Schema (draft 2020-12) for schemas that tenants write: nothing is compiled to code (Workers forbid it), nothing is
 * fetched, patterns cannot backtrack, and a check stops at a bound however the schema is built.
 */
export { checkSchema, faultOfSchema } from './json-schema/check.ts'
export { validateJson } from './json-schema/validate.ts'
