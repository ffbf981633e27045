import { Drop, toValue } from 'liquidjs'
import { LanguageError } from './scope.ts'

type Use = (units: number) => void

/** Digits of the longest number that is one; the engine reads a text as a number anew each time that it compares it. */
const longestNumber = 100

/** What JavaScript makes a text of by itself where the engine wants a number, a name or a text: of a list, all of it. */
export const isCompound = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !(value instanceof Drop)

/** A text, a number, true, false or nothing; what is wrong is told of as `where`. */
export function scalarOf(given: unknown, where: string, use: Use): unknown {
  const value: unknown = toValue(given)
  if (isCompound(value)) throw new LanguageError(`${where} takes texts and numbers, no list and no object.`)
  if (typeof value === 'string') use(value.length)
  return value
}

/** As scalarOf, and a text is the number that it says. */
export function numberOf(given: unknown, where: string): unknown {
  const value: unknown = toValue(given)
  if (isCompound(value) || (typeof value === 'string' && value.length > longestNumber))
    throw new LanguageError(`${where} takes a number, no list, object or long text.`)
  return typeof value === 'string' ? Number(value) : value
}

/** To count the members of an object the engine lists them. */
export function useMembers(value: unknown, use: Use): void {
  if (isCompound(value) && !Array.isArray(value)) use(Object.keys(value).length * 100)
}
