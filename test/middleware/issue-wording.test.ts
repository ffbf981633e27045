import { z } from '@hono/zod-openapi'
import { expect, test } from 'vitest'
import { wordingOf } from '../../src/middleware/issue-wording.ts'

const said = (schema: z.ZodType, value: unknown) =>
  schema.safeParse(value, { error: wordingOf }).error?.issues.map(({ message }) => message)

test.each([
  [z.string(), undefined, 'is required'],
  [z.string(), 5, 'must be a text'],
  [z.int(), '5', 'must be a number'],
  [z.int(), 1.5, 'must be a whole number'],
  [z.coerce.number(), 'abc', 'must be a number'],
  [z.boolean(), 'yes', 'must be true or false'],
  [z.array(z.string()), {}, 'must be a list'],
  [z.object({}), [], 'must be an object'],
  [z.iso.datetime(), 'yesterday', 'must be a time such as 2026-11-22T08:00:00Z'],
  [z.email(), 'ada', 'must be an e-mail address'],
  [z.enum(['day', 'month']), 'monthly', 'must be one of day, month'],
  [z.literal(true), false, 'must be true'],
  [z.string().min(1), '', 'must not be empty'],
  [z.string().min(3), 'ab', 'must have at least 3 characters'],
  [z.string().max(1), 'ab', 'must have at most 1 character'],
  [z.array(z.string()).max(2), ['a', 'b', 'c'], 'must have at most 2 items'],
  [z.int().max(12), 99, 'must be at most 12'],
  [z.number().gt(0), 0, 'must be more than 0'],
] as const)('a fault says what would be right: %#', (schema, value, sentence) => {
  expect(said(schema, value)).toEqual([sentence])
})

test('a schema that has words of its own keeps them', () => {
  const schema = z.union([z.string(), z.number()], { error: 'must be a text or a number' })
  expect(said(schema, true)).toEqual(['must be a text or a number'])
  expect(said(z.string().regex(/^a/, 'begins with a'), 'b')).toEqual(['begins with a'])
})
