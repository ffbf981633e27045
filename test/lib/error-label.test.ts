import { expect, test } from 'vitest'
import { errorLabel } from '../../src/lib/error-label.ts'
import { AppError } from '../../src/lib/errors.ts'

const coded = (code: unknown) => Object.assign(new TypeError('db.internal refused workspace w1'), { code })

test.each([
  ['an expected failure by its kind', new AppError('unavailable', 'Workspace w1 is away.'), 'unavailable'],
  ['another by its name', new RangeError('row of w1'), 'RangeError'],
  ['with its code', coded('ECONNREFUSED'), 'TypeError ECONNREFUSED'],
  ['but no text in the place of a code', coded('no route to db.internal'), 'TypeError'],
  ['what is no error', 'w1', 'unknown'],
])('a label shows %s and never the message', (_, error, label) => {
  expect(errorLabel(error)).toBe(label)
})
