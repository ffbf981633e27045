import { expect, test } from 'vitest'
import { AppError } from '../../src/lib/errors.ts'
import { entityTag, isCurrent, requireMatch } from '../../src/lib/etag.ts'

const tag = entityTag({ id: 'a', version: 1 })
const kindOf = (ifMatch: string | null, current = tag) => {
  try {
    requireMatch(ifMatch, current)
    return 'passed'
  } catch (error) {
    return error instanceof AppError ? error.kind : error
  }
}

test('a tag is strong, quoted, and the same for the same content in any order', () => {
  expect(tag).toMatch(/^"[0-9a-f]{32}"$/)
  expect(entityTag({ version: 1, id: 'a' })).toBe(tag)
  expect(entityTag({ id: 'a', version: 2 })).not.toBe(tag)
})

test.each([
  ['no header', null, 'passed'],
  ['a star', '*', 'passed'],
  ['the tag', tag, 'passed'],
  ['a list with it', `"x", ${tag}`, 'passed'],
  ['a list with empty places', `, "x",,${tag} ,`, 'passed'],
  ['a tag with a comma in it beside it', `"a,b",${tag}`, 'passed'],
  ['another tag', '"x"', 'precondition-failed'],
  ['a list without it', '"x", "y"', 'precondition-failed'],
  ['the tag, weak', `W/${tag}`, 'precondition-failed'],
  ['the empty tag', '""', 'precondition-failed'],
  ['the tag without its quotes', tag.slice(1, -1), 'invalid'],
  ['half a tag', tag.slice(0, -1), 'invalid'],
  ['tags without a comma', `"x" ${tag}`, 'invalid'],
  ['nothing', '', 'invalid'],
])('If-Match with %s: %s is %s', (_, ifMatch, outcome) => {
  expect(kindOf(ifMatch)).toBe(outcome)
})

test('the refusal says what is current', () => {
  try {
    requireMatch('"x"', tag)
    expect.unreachable()
  } catch (error) {
    expect((error as AppError).headers).toEqual({ etag: tag })
  }
})

test('what changes by itself ends a copy, not an edit', () => {
  const before = entityTag({ id: 'a' }, { next: 1 })
  const after = entityTag({ id: 'a' }, { next: 2 })
  expect(isCurrent(before, after)).toBe(false)
  expect(kindOf(before, after)).toBe('passed')
  expect(kindOf(entityTag({ id: 'b' }, { next: 2 }), after)).toBe('precondition-failed')
})

test.each([
  [null, false],
  ['*', true],
  [tag, true],
  [`W/${tag}`, true],
  [`"x", W/${tag}`, true],
  ['"x"', false],
  ['nonsense', false],
])('If-None-Match %s: the copy is good: %s', (header, good) => {
  expect(isCurrent(header, tag)).toBe(good)
})
