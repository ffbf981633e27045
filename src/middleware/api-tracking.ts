import type { ApiMetrics } from '../services/metrics/api-metrics.ts'
import { asMiddleware } from './as-middleware.ts'
import type { Layer } from './exchange.ts'

/** Layer 2: counts calls, times and statuses by method and route template. */
export function apiTrackingLayer(metrics: ApiMetrics): Layer {
  return {
    name: 'api tracking',
    on(route) {
      if (route.kind === 'page' || route.kind === 'asset' || route.method === 'OPTIONS') return {}
      // The slot lives in the closure, so a call costs no look-up. It is taken at the first call: 500 keys are for what is used.
      let slot: ReturnType<ApiMetrics['slot']> | undefined
      return {
        before(exchange) {
          exchange.isCounted = isCounted(exchange.method, exchange.request)
          if (exchange.isCounted) metrics.inFlight++
        },
        after(exchange, status) {
          if (!exchange.isCounted) return
          slot ??= metrics.slot(route.method, route.template)
          slot.record(status, exchange.runtime.clock.monotonicMs() - exchange.startedMs, exchange.runtime.clock)
        },
        ended(exchange, error) {
          if (!exchange.isCounted) return
          metrics.inFlight--
          if (error !== null) slot?.streamFailed()
        },
      }
    },
  }
}

// A WebSocket upgrade lives for hours: as a call it would only distort the times.
const isCounted = (method: string, request: Request) =>
  method !== 'OPTIONS' && (method !== 'GET' || request.headers.get('upgrade') !== 'websocket')

export const apiTracking = (metrics: ApiMetrics) => asMiddleware(apiTrackingLayer(metrics))
