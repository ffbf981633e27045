import type { LimitDecision, Runtime } from '../context.ts'
import type { Access, OperationKind, Reply } from '../lib/operation.ts'
import type { Caller } from '../services/identity/caller.ts'
import { clientAddress } from './client-address.ts'

/** What the layers know of a route when it is registered. */
export interface Route {
  method: string
  /** Hono style, for the router: `/api/agents/:agent`. */
  path: string
  /** As documented and counted: `/api/agents/{agent}`. */
  template: string
  kind: OperationKind
  access: Access
  /** What is a person's own takes no permission: the service decides. */
  own?: boolean
  /** Under /api/widgets: own CORS, own limits, widget keys welcome. */
  widget: boolean
  /** A signed `?ticket=` does in place of a credential. */
  ticket: boolean
  /** Its handler verifies the sender: what it accepts costs the address nothing. */
  verifiesSender?: boolean
  /** How much of a caller's rate limit one request takes; default 1. */
  weight?: number
  maxBodyBytes: number
}

/** Node's parser has the headers at hand before anybody asks; a look at its own Request costs many times more. */
interface PlatformEnv {
  incoming?: { headers?: Record<string, unknown> }
}

/** One request on its way through the layers. Every field exists from the start, so its shape never changes. */
export class Exchange {
  readonly request: Request
  readonly method: string
  readonly env: unknown
  readonly route: Route
  /** Replaced by one that knows the request's span, where requests are traced. */
  runtime: Runtime
  readonly startedMs: number
  /** Path parameters, decoded, as the router found them. */
  readonly params: Record<string, string>
  requestId = ''
  /** Whether the figures of its route have it. */
  isCounted = false
  /** The Origin header; null where there is none. Read once, by the CORS or the widget layer. */
  origin: string | null = null
  /** The last decision of the rate limiter, for its headers. */
  limit: LimitDecision | null = null
  widgetLimit: LimitDecision | null = null
  caller: Caller | null = null
  readonly #parsed: Record<string, unknown> | undefined
  #address: string | undefined

  constructor(request: Request, env: unknown, route: Route, runtime: Runtime, params: Record<string, string>) {
    this.request = request
    this.method = request.method
    this.env = env
    this.route = route
    this.runtime = runtime
    this.params = params
    this.#parsed = (env as PlatformEnv | undefined)?.incoming?.headers
    this.startedMs = runtime.clock.monotonicMs()
  }

  /** A header of the request, by its name in lower case; null where there is none. */
  header(name: string): string | null {
    const parsed = this.#parsed
    if (parsed === undefined) return this.request.headers.get(name)
    const value = parsed[name]
    return typeof value === 'string' ? value : null
  }

  /** Who sent it, seen through the proxies that are trusted. */
  get address(): string {
    return (this.#address ??= clientAddress(this.request, this.env, this.runtime))
  }
}

export type Decision = Reply | undefined | void
export type HeaderBag = Record<string, string>

/** What a layer does on one route. A hook that is missing costs nothing there. */
export interface Hooks {
  /** Looks at the request. A Reply ends the matter; the headers of all layers still go on it. */
  before?(exchange: Exchange): Decision | Promise<Decision>
  /** Looks again once the caller is known (public routes never get here). */
  admit?(exchange: Exchange, caller: Caller): Decision | Promise<Decision>
  /** The headers that every answer of the route gets from it; they cost no call. */
  fixedHeaders?: HeaderBag
  /** Puts the others on the answer, whoever gave it. */
  headers?(exchange: Exchange, headers: HeaderBag): void
  /** Notes the answer, once its status is final. */
  after?(exchange: Exchange, status: number): void
  /** The last byte is out, or the body broke: then with the error. */
  ended?(exchange: Exchange, error: unknown): void
}

/** One concern of the pipeline. It says per route, at registration, what it will do there. */
export interface Layer {
  name: string
  on(route: Route): Hooks
}
