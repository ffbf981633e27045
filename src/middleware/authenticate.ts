import { AppError } from '../lib/errors.ts'
import type { Access } from '../lib/operation.ts'
import { verifyApiKey, type VerifiedKey } from '../services/identity/verify-key.ts'
import { extractCredential } from './credential.ts'
import type { Exchange } from './exchange.ts'

const challenge = { 'www-authenticate': 'Bearer realm="automatos"' }

/**
 * Who calls, for a route that is not public. Synchronous while the key is cached. A failure first costs the address one
 * request (`countFailure`), so guessing keys ends in 429.
 */
export function authenticate(
  exchange: Exchange,
  countFailure: (exchange: Exchange) => void | Promise<void>,
): VerifiedKey | Promise<VerifiedKey> {
  let token
  try {
    token = extractCredential(exchange.request)
    if (token === null) {
      // Stage one of the rate limit has counted it already.
      throw new AppError('unauthenticated', 'An API key is required: send it as X-API-Key or as a Bearer token.', {
        headers: challenge,
      })
    }
    const verified = verifyApiKey(exchange.runtime, token)
    if (!(verified instanceof Promise)) return verified
    return verified.catch((error: unknown) => refuse(exchange, error, countFailure))
  } catch (error) {
    if (token === null) throw error
    return refuse(exchange, error, countFailure)
  }
}

function refuse(
  exchange: Exchange,
  error: unknown,
  countFailure: (exchange: Exchange) => void | Promise<void>,
): Promise<never> | never {
  if (!(error instanceof AppError) || error.kind !== 'unauthenticated') throw error
  const refusal = new AppError('unauthenticated', error.detail, { headers: challenge, cause: error })
  const counting = countFailure(exchange)
  if (counting instanceof Promise) {
    return counting.then(() => {
      throw refusal
    })
  }
  throw refusal
}

/** Default deny: a permission that the key does not hold is 403; a widget key opens nothing outside /api/widgets. */
export function authorize(key: VerifiedKey, access: Access, widgetRoute: boolean): void {
  if (key.kind === 'widget' && !widgetRoute) {
    throw new AppError('forbidden', 'A widget key works under /api/widgets only.')
  }
  if (access === 'public' || access === 'authenticated') return
  if (!key.actor.permissions.has(access)) throw new AppError('forbidden', `This needs the permission ${access}.`)
}
