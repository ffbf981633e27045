import type { LimitDecision } from '../context.ts'
import { AppError } from '../lib/errors.ts'
import { domainAllows } from '../lib/widget-domains.ts'
import type { LimiterState } from '../services/metrics/limiter-state.ts'
import { asMiddleware } from './as-middleware.ts'
import { addressBucket } from './client-address.ts'
import type { Exchange, Layer } from './exchange.ts'
import { counted } from './limiting.ts'

// All visitors of a site share its key, so the address is what is bounded, generously: a page view costs two calls.
const requestsPerAddress = 300
const windowSeconds = 60

/**
 * Layer 5, for /api/widgets alone: the embedding page's CORS, limits per address and key, and the key's list of domains.
 * A preflight carries no key, so it is answered for any origin; the list is enforced on the real request.
 */
export function widgetLayer(state: LimiterState): Layer {
  return {
    name: 'widget',
    on(route) {
      if (!route.widget) return {}
      return {
        before(exchange) {
          exchange.origin = exchange.header('origin')
          if (exchange.method === 'OPTIONS') return preflight
          return take(state, exchange, `widget-ip:${addressBucket(exchange.address)}`, requestsPerAddress)
        },
        admit(exchange, caller) {
          if (caller.kind === 'widget' && !domainAllows(caller.allowedDomains, siteOf(exchange))) {
            throw new AppError('forbidden', 'This key may not be used from this origin.')
          }
          // Only a limit that was set for the key bounds all its visitors together.
          if (caller.rateLimit === null) return undefined
          return take(state, exchange, `widget-key:${caller.id}`, caller.rateLimit)
        },
        headers(exchange, headers) {
          headers['access-control-allow-origin'] = exchange.origin ?? '*'
          headers['access-control-expose-headers'] =
            'Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-ID'
          headers['vary'] = 'Origin'
          if (exchange.widgetLimit === null) return
          headers['x-ratelimit-limit'] = String(exchange.widgetLimit.limit)
          headers['x-ratelimit-remaining'] = String(exchange.widgetLimit.remaining)
          headers['x-ratelimit-reset'] = String(exchange.widgetLimit.resetSeconds)
        },
      }
    },
  }
}

const preflight = {
  status: 204,
  headers: {
    'access-control-allow-methods': 'GET, POST, OPTIONS',
    // Named one by one: a `*` does not cover Authorization.
    'access-control-allow-headers': 'Authorization, Content-Type',
    'access-control-max-age': '7200',
  },
}

/** Where the page lives: its Origin; a page on our own origin sends none and says so in Sec-Fetch-Site. */
function siteOf(exchange: Exchange): string | null {
  if (exchange.origin !== null) return exchange.origin
  return exchange.header('sec-fetch-site') === 'same-origin' ? new URL(exchange.request.url).origin : null
}

const take = (state: LimiterState, exchange: Exchange, key: string, limit: number) =>
  counted(state, exchange, key, limit, windowSeconds, noteLimit)

/** Of two decisions the tighter one is worth telling. */
const noteLimit = (exchange: Exchange, decision: LimitDecision) => {
  const known = exchange.widgetLimit
  if (known === null || decision.remaining < known.remaining) exchange.widgetLimit = decision
}

export const widget = (state: LimiterState) => asMiddleware(widgetLayer(state))
