import type { ApiMetrics } from '../services/metrics/api-metrics.ts'
import { asMiddleware } from './as-middleware.ts'
import type { Exchange, Layer } from './exchange.ts'

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
          exchange.isCounted = isCounted(exchange)
          if (exchange.isCounted) metrics.inFlight++
        },
        after(exchange, status) {
          if (!exchange.isCounted) return
          slot ??= metrics.slot(route.method, route.template)
          const nowMs = exchange.runtime.clock.monotonicMs()
          slot.record(status, nowMs - exchange.startedMs, nowMs)
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
const isCounted = (exchange: Exchange) =>
  exchange.method !== 'OPTIONS' && (exchange.method !== 'GET' || exchange.header('upgrade') !== 'websocket')

export const apiTracking = (metrics: ApiMetrics) => asMiddleware(apiTrackingLayer(metrics))
