import type { z } from '@hono/zod-openapi'

type Issue = Parameters<z.core.$ZodErrorMap>[0]

const kinds: Record<string, string> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
  null: 'null',
}
const formats: Record<string, string> = {
  datetime: 'a time such as 2026-11-22T08:00:00Z',
  email: 'an e-mail address',
  uuid: 'a UUID',
  url: 'a URL',
}

/**
 * What is wrong and what would be right, as the checks of recipes say it: the library's own words are for programmers. A schema
 * that has words of its own keeps them; undefined leaves the library's.
 */
export const wordingOf = (issue: Issue): string | undefined => {
  switch (issue.code) {
    case 'invalid_type': {
      if (issue.input === undefined) return 'is required'
      const kind = kinds[issue.expected]
      return kind && `must be ${kind}`
    }
    case 'invalid_format': {
      const format = formats[issue.format]
      return format && `must be ${format}`
    }
    case 'invalid_value':
      return `must be ${issue.values.length === 1 ? '' : 'one of '}${issue.values.map(String).join(', ')}`
    case 'too_small':
      if (issue.origin === 'string' && issue.minimum === 1) return 'must not be empty'
      return bound(issue.origin, 'least', issue.minimum, issue.inclusive !== false)
    case 'too_big':
      return bound(issue.origin, 'most', issue.maximum, issue.inclusive !== false)
    default:
      return undefined
  }
}

function bound(
  origin: string,
  end: 'least' | 'most',
  limit: number | bigint,
  isInclusive: boolean,
): string | undefined {
  if (origin === 'string') return `must have at ${end} ${limit} ${limit === 1 ? 'character' : 'characters'}`
  if (origin === 'array') return `must have at ${end} ${limit} ${limit === 1 ? 'item' : 'items'}`
  if (origin !== 'number' && origin !== 'int') return undefined
  if (isInclusive) return `must be at ${end} ${limit}`
  return `must be ${end === 'least' ? 'more' : 'less'} than ${limit}`
}
