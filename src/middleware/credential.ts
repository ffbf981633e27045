import { AppError } from '../lib/errors.ts'

export const hasCredential = ({ headers }: Request): boolean =>
  headers.get('authorization') !== null || headers.get('x-api-key') !== null

/** The first credential counts and a bad one never falls through to the next. Null = none was sent. */
export function extractCredential({ headers }: Request): string | null {
  const authorization = headers.get('authorization')
  if (authorization === null) return headers.get('x-api-key')
  const match = /^bearer +([^\s]+) *$/i.exec(authorization)
  if (!match) throw new AppError('unauthenticated', 'Authorization must be "Bearer" and a key.')
  return match[1]!
}
