import { expect, test } from 'vitest'
import { AppError } from '../../src/lib/errors.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { readCursor, readNumberCursor, toPage } from '../../src/lib/pagination.ts'

const rows = [5, 4, 3].map((n) => ({ id: uuidv7(n), created_at: new Date(1000 * n) }))
const page = (limit: number) =>
  toPage(
    rows,
    limit,
    (row) => ({ createdAt: row.created_at, id: row.id }),
    (row) => row.id,
  )

test('a cursor leads to where its page ended', () => {
  const { items, next_cursor } = page(2)
  expect(items).toEqual([rows[0]!.id, rows[1]!.id])
  expect(readCursor(next_cursor!)).toEqual({ createdAt: rows[1]!.created_at, id: rows[1]!.id })
})

test('the last page has no cursor, not even when it is full', () => {
  expect(page(3).next_cursor).toBeNull()
})

test('a cursor that no list has given is a fault of the query', () => {
  for (const cursor of [
    '',
    'x',
    '%%%',
    btoa('1.2'),
    btoa(`99999999999999999.${uuidv7()}`),
    btoa('1.' + "'".repeat(36)),
    btoa('1.' + '-'.repeat(36)),
    btoa(`253402300800000.${uuidv7()}`),
  ]) {
    expect(() => readCursor(cursor)).toThrow(AppError)
  }
})

test('a list of numbers takes no cursor of a list of times', () => {
  expect(readNumberCursor(undefined)).toBeNull()
  expect(readNumberCursor(btoa(`2147483647.${uuidv7()}`))).toBe(2_147_483_647)
  expect(() => readNumberCursor(btoa(`${Date.now()}.${uuidv7()}`))).toThrow(AppError)
})
