import type { Config } from '../config.ts'
import { asMiddleware } from './as-middleware.ts'
import type { HeaderBag, Layer } from './exchange.ts'

/** Layer 3. A page brings its own Content-Security-Policy in its Reply; what a Reply sets is never overwritten. */
export function securityHeadersLayer(config: Pick<Config, 'environment'>): Layer {
  const fixedHeaders = securityHeaderBag(config)
  return { name: 'security headers', on: () => ({ fixedHeaders }) }
}

export const securityHeaderBag = (config: Pick<Config, 'environment'>): HeaderBag => ({
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'strict-origin-when-cross-origin',
  'permissions-policy': 'camera=(), microphone=(), geolocation=()',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  ...(config.environment === 'production' && {
    'strict-transport-security': 'max-age=63072000; includeSubDomains; preload',
  }),
})

export const securityHeaders = (config: Pick<Config, 'environment'>) => asMiddleware(securityHeadersLayer(config))
