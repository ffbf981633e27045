import type { Config } from '../config.ts'
import { asMiddleware } from './as-middleware.ts'
import type { HeaderBag, Layer } from './exchange.ts'

/** Layer 3. A page brings its own Content-Security-Policy in its Reply; what a Reply sets is never overwritten. */
export function securityHeadersLayer(config: Pick<Config, 'environment'>): Layer {
  const production = config.environment === 'production'
  return {
    name: 'security headers',
    on: () => ({
      headers(_exchange, headers) {
        write(production, headers)
      },
    }),
  }
}

/** The same headers for an answer that no exchange belongs to. */
export function securityHeaderBag(config: Pick<Config, 'environment'>): HeaderBag {
  const headers: HeaderBag = {}
  write(config.environment === 'production', headers)
  return headers
}

function write(production: boolean, headers: HeaderBag): void {
  headers['x-content-type-options'] = 'nosniff'
  headers['x-frame-options'] = 'DENY'
  headers['referrer-policy'] = 'strict-origin-when-cross-origin'
  headers['permissions-policy'] = 'camera=(), microphone=(), geolocation=()'
  headers['content-security-policy'] = "default-src 'none'; frame-ancestors 'none'"
  if (production) headers['strict-transport-security'] = 'max-age=63072000; includeSubDomains; preload'
}

export const securityHeaders = (config: Pick<Config, 'environment'>) => asMiddleware(securityHeadersLayer(config))
