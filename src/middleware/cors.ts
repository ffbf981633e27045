import type { Config } from '../config.ts'
import { asMiddleware } from './as-middleware.ts'
import type { Layer } from './exchange.ts'

const preflightHeaders = {
  'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE, OPTIONS',
  'access-control-allow-headers':
    'Authorization, Content-Type, X-API-Key, X-Workspace-ID, X-Request-ID, Idempotency-Key, Last-Event-ID, If-Match, If-None-Match, Prefer',
  'access-control-max-age': '600',
}
const exposedHeaders =
  'X-Request-ID, X-Routing-Tier, X-Routing-Confidence, X-Routing-Agent, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, ETag, Location, Preference-Applied, Content-Disposition, Idempotency-Replayed'

/** Layer 4: which other origins may read our answers. Widget routes have rules of their own (layer 5). */
export function corsLayer(config: Pick<Config, 'corsAllowOrigins'>): Layer {
  const allowed = new Set(config.corsAllowOrigins)
  return {
    name: 'cors',
    on(route) {
      if (route.widget || allowed.size === 0) return {}
      return {
        before(exchange) {
          exchange.origin = exchange.header('origin')
          if (exchange.method !== 'OPTIONS' || exchange.origin === null) return undefined
          if (exchange.header('access-control-request-method') === null) return undefined
          return {
            status: 204,
            ...(allowed.has(exchange.origin) && { headers: preflightHeaders }),
          }
        },
        fixedHeaders: { vary: 'Origin' },
        headers(exchange, headers) {
          if (exchange.origin === null || !allowed.has(exchange.origin)) return
          headers['access-control-allow-origin'] = exchange.origin
          headers['access-control-allow-credentials'] = 'true'
          headers['access-control-expose-headers'] = exposedHeaders
        },
      }
    },
  }
}

export const cors = (config: Pick<Config, 'corsAllowOrigins'>) => asMiddleware(corsLayer(config))
