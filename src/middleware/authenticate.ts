import { AppError, type ProblemKind } from '../lib/errors.ts'
import { resourceOf } from '../lib/resource.ts'
import type { Caller } from '../services/identity/caller.ts'
import { identify } from '../services/identity/identify.ts'
import { verifyTicket } from '../services/identity/ticket.ts'
import { extractCredential, hasCredential, ticketOf } from './credential.ts'
import type { Exchange, Route } from './exchange.ts'

const challenge = { 'www-authenticate': 'Bearer realm="automatos"' }

/**
 * Who calls, for a route that is not public. Synchronous while the caller is cached. A failure first costs the address one
 * request (`countFailure`), so guessing keys ends in 429.
 */
export function authenticate(
  exchange: Exchange,
  countFailure: (exchange: Exchange) => void | Promise<void>,
): Caller | Promise<Caller> {
  let token
  try {
    token = extractCredential(exchange)
    if (token === null) {
      // Stage one of the rate limit has counted it already.
      throw new AppError(
        'unauthenticated',
        'An API key or the token of a user is required: send it as a Bearer token, a key also as X-API-Key.',
        {
          headers: challenge,
        },
      )
    }
    const workspace = exchange.header('x-workspace-id')
    const caller = identify(exchange.runtime, token, workspace)
    if (!(caller instanceof Promise)) return requireAddress(exchange, caller)
    return caller
      .then((verified) => requireAddress(exchange, verified))
      .catch((error: unknown) => refuse(exchange, error, countFailure))
  } catch (error) {
    if (token === null) throw error
    return refuse(exchange, error, countFailure)
  }
}

/** A key that leaked is worth nothing elsewhere, and cannot be used up from there either. */
function requireAddress(exchange: Exchange, caller: Caller): Caller {
  if (caller.allowsAddress === null || caller.allowsAddress(exchange.address)) return caller
  throw new AppError('forbidden', 'This key may not be used from this address.')
}

/** What nobody verified pays for: guessing a credential, trying a key elsewhere, looking for workspaces. */
const costs: ReadonlySet<ProblemKind> = new Set(['unauthenticated', 'forbidden', 'not-found'])

/** The same where a signed `?ticket=` does as well. A credential in a header comes first, and a bad one never falls through. */
export function authenticateWithTicket(
  exchange: Exchange,
  countFailure: (exchange: Exchange) => void | Promise<void>,
): Caller | Promise<Caller> {
  const { request, route, params, runtime } = exchange
  const ticket = hasCredential(exchange) ? null : ticketOf(request)
  if (ticket === null) return authenticate(exchange, countFailure)
  return verifyTicket(runtime, ticket, resourceOf(route.template, params)).catch((error: unknown) =>
    refuse(exchange, error, countFailure),
  )
}

function refuse(
  exchange: Exchange,
  error: unknown,
  countFailure: (exchange: Exchange) => void | Promise<void>,
): Promise<never> | never {
  if (!(error instanceof AppError) || !costs.has(error.kind)) throw error
  const refusal =
    error.kind === 'unauthenticated'
      ? new AppError('unauthenticated', error.detail, { headers: challenge, cause: error })
      : error
  const counting = countFailure(exchange)
  if (counting instanceof Promise) {
    return counting.then(() => {
      throw refusal
    })
  }
  throw refusal
}

/** Default deny: a permission that the key does not hold is 403; a widget key opens nothing outside /api/widgets. */
export function authorize(caller: Caller, { access, widget, own }: Route): void {
  if (caller.kind === 'widget' && !widget) {
    throw new AppError('forbidden', 'A widget key works under /api/widgets only.')
  }
  if (access === 'public' || access === 'authenticated') return
  if (caller.actor.permissions.has(access) || (own && caller.actor.kind === 'user')) return
  throw new AppError('forbidden', `This needs the permission ${access}.`)
}
