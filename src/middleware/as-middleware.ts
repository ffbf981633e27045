import type { Handler, MiddlewareHandler } from 'hono'
import { Exchange, type HeaderBag, type Layer, type Route } from './exchange.ts'
import type { Endpoint, OpenRuntime } from './pipeline.ts'

export type LayerEnv = { Variables: { exchange: Exchange; onBodyEnd: ((error: unknown) => void)[] } }

/** Opens the runtime and begins the exchange that layers used as ordinary middleware share. Stands before them. */
export function exchange(open: OpenRuntime, route: Route): MiddlewareHandler<LayerEnv> {
  return async (c, next) => {
    const { runtime } = await open(c.env)
    c.set('exchange', new Exchange(c.req.raw, c.env, route, runtime, c.req.param()))
    c.set('onBodyEnd', [])
    await next()
  }
}

/** A compiled route as an ordinary Hono handler. Hono has decoded what its parameters stand for. */
export const asHandler = (endpoint: Endpoint): Handler => {
  return (c) => endpoint(c.req.raw, c.env, undefined, Object.values(c.req.param()).map(encodeURIComponent))
}

/**
 * A layer as an ordinary Hono middleware, for apps that stack it with others. The product compiles its layers instead
 * (`pipeline.ts`); a test holds the two equal.
 */
export function asMiddleware(layer: Layer): MiddlewareHandler<LayerEnv> {
  return async (c, next) => {
    const current = c.get('exchange')
    const hooks = layer.on(current.route)
    if (hooks.ended) c.get('onBodyEnd').push((error) => hooks.ended!(current, error))
    const reply = await hooks.before?.(current)
    if (reply) c.res = new Response(null, { status: reply.status, headers: reply.headers ?? {} })
    else await next()
    if (hooks.headers || hooks.fixedHeaders) {
      const headers: HeaderBag = { ...hooks.fixedHeaders }
      hooks.headers?.(current, headers)
      for (const [name, value] of Object.entries(headers)) {
        if (name === 'vary') c.res.headers.append(name, value)
        else if (!c.res.headers.has(name)) c.res.headers.set(name, value)
      }
    }
    hooks.after?.(current, c.res.status)
  }
}
