import { Hono, type Context } from 'hono'
import type { Config } from './config.ts'
import { tracesUrl } from './config/tracing.ts'
import { AppError } from './lib/errors.ts'
import { createDocument, type OpenApiDocument } from './lib/openapi/document.ts'
import type { Operation, RouteGroup } from './lib/operation.ts'
import { available } from './lib/requirement.ts'
import { apiTrackingLayer } from './middleware/api-tracking.ts'
import { bodyLimitLayer, defaultMaxBodyBytes } from './middleware/body-limit.ts'
import { corsLayer } from './middleware/cors.ts'
import type { Layer, Route } from './middleware/exchange.ts'
import { answerOperation, type Guards } from './middleware/operation-answer.ts'
import { compile, type Answer, type Endpoint, type OpenRuntime, type Waiter } from './middleware/pipeline.ts'
import { countAddress, rateLimitLayer } from './middleware/rate-limit.ts'
import { requestIdLayer } from './middleware/request-id.ts'
import { createSchemaGuard } from './middleware/schema-guard.ts'
import { securityHeadersLayer } from './middleware/security-headers.ts'
import { tracingLayer, withinSpan } from './middleware/tracing.ts'
import { routedPath, TemplateRouter } from './middleware/template-router.ts'
import { answerUnmatched } from './middleware/unmatched.ts'
import { widgetLayer } from './middleware/widget.ts'
import { routeGroups } from './routes/index.ts'
import { ApiMetrics } from './services/metrics/api-metrics.ts'
import { createLimiterState } from './services/metrics/limiter-state.ts'
import { liveLimits } from './services/settings/live.ts'

export type { Opened, OpenRuntime, Waiter } from './middleware/pipeline.ts'

export interface App {
  /** What every platform serves. */
  fetch(request: Request, env?: unknown, executionCtx?: Waiter): Response | Promise<Response>
  /** The same for tests: a path or URL and an init. */
  request(input: string | Request, init?: RequestInit, env?: unknown): Promise<Response>
  /** The 400 for a request whose target or Host no URL can be made of, so that there is no Request to hand to `fetch`. */
  answerMalformed(env?: unknown): Response | Promise<Response>
}

/**
 * The whole API. `open` gives the runtime for a request: on Node and Bun the one long-lived runtime, synchronously; on
 * Workers one per request, closed when the answer's body has ended.
 */
export function createApp(config: Config, open: OpenRuntime): App {
  const metrics = new ApiMetrics()
  const limiterState = createLimiterState()
  return assemble(config, open, routeGroups(config, { metrics, limiterState }), metrics, limiterState)
}

/** The OpenAPI document of the whole API, without serving it. */
export function createApiDocument(config: Config): OpenApiDocument {
  const sources = { metrics: new ApiMetrics(), limiterState: createLimiterState() }
  return createDocument(routeGroups(config, sources), config.apiUrl)
}

/** The seven layers, outermost first; behind the first the one for traces, where they go somewhere. */
export function createLayers(
  config: Config,
  metrics: ApiMetrics,
  limiterState: ReturnType<typeof createLimiterState>,
): Layer[] {
  return [
    requestIdLayer(),
    ...(tracesUrl(config) === null ? [] : [tracingLayer()]),
    apiTrackingLayer(metrics),
    securityHeadersLayer(config),
    corsLayer(config),
    widgetLayer(limiterState),
    rateLimitLayer(limitsOf(config), limiterState),
    bodyLimitLayer(),
  ]
}

export function assemble(
  config: Config,
  open: OpenRuntime,
  groups: readonly RouteGroup[],
  metrics = new ApiMetrics(),
  limiterState = createLimiterState(),
): App {
  const endpoints = new TemplateRouter<Endpoint>()
  const hono = new Hono<Arrived>({ router: new TemplateRouter(), getPath: routedPath })
  const mounted = (endpoint: Endpoint) => (c: Context<Arrived>) => {
    const { request, env, waiter } = c.env
    return endpoint(request, env, waiter, Object.values(c.req.param()).map(encodeURIComponent))
  }
  const layers = createLayers(config, metrics, limiterState)
  const spanned = tracesUrl(config) === null ? (answer: Answer) => answer : withinSpan
  const limits = limitsOf(config)
  const guards: Guards = {
    countFailure: (exchange) => countAddress(limits, limiterState, exchange),
    requireSchema: createSchemaGuard(),
  }
  for (const group of groups) {
    for (const operation of group.operations) {
      const route = toRoute(group, operation)
      const endpoint = compile(open, layers, route, spanned(answerOperation(available(group, operation), guards)))
      endpoints.add(route.method, route.path, endpoint)
      hono.on(route.method, route.path, mounted(endpoint))
    }
  }

  // What no route matches goes through the same layers: 404, 405 and OPTIONS.
  const unmatched = answerUnmatched(endpoints)
  const elsewhere = mounted(compile(open, layers, unmatchedRoute(false), unmatched))
  const elsewhereInWidgets = mounted(compile(open, layers, unmatchedRoute(true), unmatched))
  hono.notFound((c) => (isWidgetPath(c.req.path) ? elsewhereInWidgets(c) : elsewhere(c)))

  const malformed = compile(open, layers, unmatchedRoute(false), () => {
    throw new AppError('malformed', 'The request target or the Host header is not valid.')
  })

  // A route's own answer needs nothing of a Hono context, whose making costs about as much as several layers. Hono answers
  // the rest: HEAD, and what no route matches.
  const fetch = (request: Request, env?: unknown, waiter?: Waiter) => {
    const [[endpoint], values] = endpoints.match(request.method, routedPath(request))
    return endpoint ? endpoint[0](request, env, waiter, values!) : hono.fetch(request, { request, env, waiter })
  }
  return {
    fetch,
    answerMalformed: (env) => malformed(new Request('http://malformed.invalid/'), env, undefined, []),
    request: async (input, init, env) =>
      fetch(input instanceof Request ? input : new Request(new URL(input, 'http://localhost'), init), env),
  }
}

/** As the system settings have them at the time of a request. */
const limitsOf = (config: Config) =>
  liveLimits(config, 'rateLimitDefault', 'rateLimitAuthenticated', 'rateLimitWorkspace')

/** What Hono carries for us from `fetch` to the route: its own view of a request costs more than it tells. */
interface Arrived {
  Bindings: { request: Request; env: unknown; waiter: Waiter | undefined }
}

const isWidgetPath = (path: string) => path === '/api/widgets' || path.startsWith('/api/widgets/')

function toRoute(group: RouteGroup, operation: Operation): Route {
  const joined = group.prefix.replace(/\/$/, '') + operation.path
  const template = joined.replace(/(.)\/$/, '$1')
  return {
    method: operation.method.toUpperCase(),
    path: template.replace(/\{([^}]+)\}/g, ':$1'),
    template,
    kind: operation.kind ?? 'api',
    access: operation.access,
    own: operation.own ?? false,
    widget: isWidgetPath(template),
    ticket: operation.ticket ?? false,
    verifiesSender: operation.verifiesSender ?? false,
    weight: operation.weight ?? 1,
    maxBodyBytes: operation.maxBodyBytes ?? defaultMaxBodyBytes,
  }
}

const unmatchedRoute = (widget: boolean): Route => ({
  method: 'ANY',
  path: '*',
  template: widget ? '/api/widgets/(unmatched)' : '(unmatched)',
  kind: 'api',
  access: 'public',
  widget,
  ticket: false,
  maxBodyBytes: defaultMaxBodyBytes,
})
