import { z } from '@hono/zod-openapi'
import { AppError } from './errors.ts'
import { isUuid } from './ids.ts'
import { latestInstant } from './time-range.ts'

/** What an integer column holds. */
const maxNumber = 2_147_483_647

/** Spread into a list's query schema: `z.object({ ...pageQuery, status: … })`. */
export const pageQuery = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(200)
    .default(50)
    .openapi({ description: 'How many items at most.', example: 50 }),
  cursor: z.string().max(200).optional().openapi({ description: '`next_cursor` of the page before this one.' }),
}

export interface PageRequest {
  limit: number
  cursor?: string | undefined
}

/** Where a page ended. Lists are newest first, by time and then id, so rows that come in meanwhile move nothing. */
export interface Position {
  createdAt: Date
  id: string
}

export interface Page<T> {
  items: T[]
  next_cursor: string | null
}

export const pageOf = <T extends z.ZodType>(item: T) =>
  z.object({
    items: z.array(item),
    next_cursor: z.string().nullable().openapi({ description: 'Null on the last page.' }),
  })

/** The position to continue after; null at the beginning. Throws `invalid` for what is no cursor of ours. */
export function readCursor(cursor: string | undefined): Position | null {
  if (cursor === undefined) return null
  const match = /^(\d{1,15})\.([0-9a-f-]{36})$/.exec(decode(cursor))
  if (!match || Number(match[1]) > latestInstant || !isUuid(match[2]!)) throw notACursor()
  return { createdAt: new Date(Number(match[1])), id: match[2]! }
}

/** Of a list whose rows are numbered: the number stands in the place of the time. */
export function readNumberCursor(cursor: string | undefined): number | null {
  const number = readCursor(cursor)?.createdAt.getTime() ?? null
  // A cursor of another list holds a time, which the column has no room for.
  if (number !== null && number > maxNumber) throw notACursor()
  return number
}

function notACursor(): AppError {
  const detail = 'This is not a cursor that a list has given.'
  return new AppError('invalid', detail, { errors: [{ pointer: '/query/cursor', detail }] })
}

/**
 * A page from rows that were read with `limit + 1`: the one too many only says that there is more. `positionOf` tells
 * where a row stands.
 */
export function toPage<Row, T>(
  rows: readonly Row[],
  limit: number,
  positionOf: (row: Row) => Position,
  toItem: (row: Row) => T,
): Page<T> {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  return {
    items: shown.map(toItem),
    next_cursor: rows.length > limit && last !== undefined ? encode(positionOf(last)) : null,
  }
}

/** Where a row stands in a list that is ordered by its own time and id. */
export const byCreation = (row: { created_at: Date; id: string }): Position => ({
  createdAt: row.created_at,
  id: row.id,
})

const encode = ({ createdAt, id }: Position) => btoa(`${createdAt.getTime()}.${id}`).replace(/=+$/, '')

function decode(cursor: string): string {
  try {
    return atob(cursor)
  } catch {
    return ''
  }
}
