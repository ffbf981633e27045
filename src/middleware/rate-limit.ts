import type { Config } from '../config.ts'
import type { LimitDecision } from '../context.ts'
import type { LimiterState } from '../services/metrics/limiter-state.ts'
import { asMiddleware } from './as-middleware.ts'
import { addressBucket } from './client-address.ts'
import { hasCredential, ticketOf } from './credential.ts'
import type { Exchange, HeaderBag, Layer } from './exchange.ts'
import { counted, requireLeft } from './limiting.ts'

type Limits = Pick<Config, 'rateLimitDefault' | 'rateLimitAuthenticated' | 'rateLimitWorkspace'>

/**
 * Layer 6, in two stages. Before authentication the client address pays for requests without a credential (and, through
 * `countFailure`, for failed authentications). After it the verified key or user pays, so one tenant's flood never spends
 * another's budget; then its workspace, where all of one together have a limit. What costs more weighs more.
 */
export function rateLimitLayer(limits: Limits, state: LimiterState): Layer {
  return {
    name: 'rate limit',
    on(route) {
      if (route.kind === 'health' || route.kind === 'asset') return {}
      if (route.verifiesSender) {
        // Who is accepted pays nothing, and what is refused is counted afterwards: `peek` stops whoever has none left.
        return {
          before: (exchange) => (exchange.method === 'OPTIONS' ? undefined : askAddress(limits, state, exchange)),
          headers: tellLimit,
        }
      }
      // On a public route nobody verifies the credential, so it buys nothing.
      const isVerified =
        route.access === 'public'
          ? () => false
          : route.ticket
            ? (exchange: Exchange) => hasCredential(exchange) || ticketOf(exchange.request) !== null
            : hasCredential
      return {
        before(exchange) {
          if (exchange.method === 'OPTIONS') return undefined
          if (isVerified(exchange)) return undefined
          return countAddress(limits, state, exchange)
        },
        admit(exchange, caller) {
          // With each request: the settings of the installation may change them.
          const { rateLimitAuthenticated, rateLimitWorkspace } = limits
          const own = caller.rateLimit
          const counting = counted(
            state,
            exchange,
            caller.budget,
            own ?? rateLimitAuthenticated.limit,
            own === null ? rateLimitAuthenticated.windowSeconds : 60,
            noteLimit,
            route.weight,
          )
          if (!rateLimitWorkspace) return counting
          // Behind the caller's own: what that refuses costs the others of the workspace nothing.
          const countWorkspace = () =>
            counted(
              state,
              exchange,
              `workspace:${caller.actor.workspaceId}`,
              rateLimitWorkspace.limit,
              rateLimitWorkspace.windowSeconds,
              noteLimit,
              route.weight,
            )
          return counting instanceof Promise ? counting.then(countWorkspace) : countWorkspace()
        },
        headers: tellLimit,
      }
    },
  }
}

const tellLimit = (exchange: Exchange, headers: HeaderBag): void => {
  if (exchange.limit === null) return
  headers['ratelimit-limit'] = String(exchange.limit.limit)
  headers['ratelimit-remaining'] = String(exchange.limit.remaining)
  headers['ratelimit-reset'] = String(exchange.limit.resetSeconds)
}

/** Of several limits the headers show the one that is reached first. */
const noteLimit = (exchange: Exchange, decision: LimitDecision) => {
  const known = exchange.limit
  if (known === null || !decision.allowed || decision.remaining < known.remaining) exchange.limit = decision
}

/** One request off the address's budget. Throws `rate-limited` when none is left. */
export const countAddress = (limits: Limits, state: LimiterState, exchange: Exchange): void | Promise<void> =>
  counted(
    state,
    exchange,
    `ip:${addressBucket(exchange.address)}`,
    limits.rateLimitDefault.limit,
    limits.rateLimitDefault.windowSeconds,
    noteLimit,
  )

/** Throws `rate-limited` where the address has nothing left, and takes nothing off it. */
const askAddress = (limits: Limits, state: LimiterState, exchange: Exchange): void | Promise<void> =>
  requireLeft(
    state,
    exchange,
    `ip:${addressBucket(exchange.address)}`,
    limits.rateLimitDefault.limit,
    limits.rateLimitDefault.windowSeconds,
    noteLimit,
  )

export const rateLimit = (limits: Limits, state: LimiterState) => asMiddleware(rateLimitLayer(limits, state))
