import { AppError } from '../lib/errors.ts'
import type { Exchange } from './exchange.ts'

type Headers = Pick<Exchange, 'header'>

export const hasCredential = (headers: Headers): boolean =>
  headers.header('authorization') !== null || headers.header('x-api-key') !== null

/** What a signed address carries in place of a header. */
export function ticketOf({ url }: Request): string | null {
  const query = url.indexOf('?')
  return query === -1 ? null : new URLSearchParams(url.slice(query)).get('ticket')
}

/** `Bearer ak_srv_` and 64 digits. */
const bearerKeyLength = 78

/** The first credential counts and a bad one never falls through to the next. Null = none was sent. */
export function extractCredential(headers: Headers): string | null {
  const authorization = headers.header('authorization')
  if (authorization === null) return apiKeyOf(headers)
  // The usual shape needs no pattern; what is no key after all is found out when it is verified.
  if (authorization.length === bearerKeyLength && authorization.startsWith('Bearer ak_')) return authorization.slice(7)
  const match = /^bearer +([^\s]+) *$/i.exec(authorization)
  if (!match) throw new AppError('unauthenticated', 'Authorization must be "Bearer" and an API key or a token.')
  return match[1]!
}

function apiKeyOf(headers: Headers): string | null {
  const key = headers.header('x-api-key')
  if (key !== null && !key.startsWith('ak_')) {
    throw new AppError('unauthenticated', 'X-API-Key takes an API key; a token goes into Authorization as Bearer.')
  }
  return key
}
