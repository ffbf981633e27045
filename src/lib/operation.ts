import type { z } from '@hono/zod-openapi'
import type { Runtime, ServiceContext } from '../context.ts'
import type { ProblemKind } from './errors.ts'
import type { Idempotency } from './idempotency-key.ts'
import type { Permission } from './permissions.ts'

/**
 * What a handler answers: plain data. The pipeline writes it into one Response together with the headers of all
 * layers, so nothing ever touches a Response twice.
 */
export interface Reply {
  status: number
  /** Extra headers, lower case. */
  headers?: Record<string, string>
  /** A value for JSON, unless `contentType` says otherwise; then text, bytes or a stream. */
  body?: unknown
  contentType?: string
}

type ObjectSchema = z.ZodObject
type Parsed<S> = S extends z.ZodType ? z.output<S> : undefined

export interface RequestInput<P, Q, H, B> {
  params: Parsed<P>
  query: Parsed<Q>
  headers: Parsed<H>
  body: Parsed<B>
  /** The request as it came; its body has been read where the operation declares one. */
  request: Request
  /** Aborts when the client leaves. */
  signal: AbortSignal
}
export type Handler<C, P, Q, H, B> = (ctx: C, input: RequestInput<P, Q, H, B>) => Reply | Promise<Reply>

export interface ResponseSpec {
  description: string
  schema?: z.ZodType
  /** Default application/json. */
  contentType?: string
  headers?: Record<string, string>
  example?: unknown
  /** What else it may be, by media type. */
  alternatives?: Record<string, { schema: z.ZodType; example: unknown }>
  /** Of a stream of server-sent events: what the data of one event is, as JSON. A component of this name. */
  event?: { name: string; schema: z.ZodType }
}

/** What a request counts for that asks a model: about what it costs beside one that reads a row. */
export const modelWeight = 5

/**
 * How the pipeline treats a route. `api`: everything applies. `health`: counted, never limited. `page`: limited, not
 * counted. `asset`: neither.
 */
export type OperationKind = 'api' | 'health' | 'page' | 'asset'

/** Who may call: anyone, any verified key, or a key that holds the permission. */
export type Access = 'public' | 'authenticated' | Permission

export interface OperationSpec<
  P extends ObjectSchema | undefined = undefined,
  Q extends ObjectSchema | undefined = undefined,
  H extends ObjectSchema | undefined = undefined,
  B extends z.ZodType | undefined = undefined,
> {
  /** Verb and noun; becomes a client's method name. */
  operationId: string
  method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  /** Relative to the group, OpenAPI style: `/{agent}/execute`. */
  path: string
  summary: string
  description?: string
  access: Access
  /** Open to a person without the permission as well, for what is their own: the service decides. */
  own?: boolean
  /** Default `api`. */
  kind?: OperationKind
  /** False keeps the operation out of the OpenAPI document (pages and assets). */
  documented?: boolean
  params?: P
  query?: Q
  headers?: H
  body?: B
  /** A request without a body is accepted and parses as `{}`. */
  bodyOptional?: boolean
  bodyExample?: unknown
  /** A body that the handler reads by itself, by media type; described, not checked. */
  rawBody?: Record<string, { schema: z.ZodType; example: unknown }>
  /** How many requests of the caller's rate limit one of these counts for. Default 1. */
  weight?: number
  /** Raises the pipeline's 10 MB. */
  maxBodyBytes?: number
  responses: Record<number, ResponseSpec>
  /**
   * Its answer carries the ETag of the resource. `read`: If-None-Match is honoured. `change`: the handler passes If-Match
   * on to the service, which asks for it under its lock.
   */
  etag?: 'read' | 'create' | 'change'
  /** Takes an `Idempotency-Key`; says what makes a repeated request harmless. */
  idempotent?: Idempotency
  /** A public one whose handler verifies the sender itself: an address pays for what was refused, not for what was accepted. */
  verifiesSender?: boolean
  /** A GET that a signed `?ticket=` opens as well: browsers cannot send headers from EventSource or <img>. */
  ticket?: boolean
  /** The problems it may answer besides those that its access, input and the pipeline imply. */
  problems?: ProblemKind[]
  /** Default: what its group requires. */
  requires?: Requirement
}

/**
 * What the configuration must give for an operation to work. It is settled at registration: where it is missing the
 * operation stays documented and answers 503 `not-configured`.
 */
export interface Requirement {
  /** The settings that it takes, as `x-requires` names them. */
  settings: readonly string[]
  met: boolean
  /** Says what is missing and what to set. */
  detail: string
}

/** An operation with its handler; the generic types have done their work by then. */
export interface Operation extends OperationSpec<
  ObjectSchema | undefined,
  ObjectSchema | undefined,
  ObjectSchema | undefined,
  z.ZodType | undefined
> {
  handler: (ctx: never, input: never) => Reply | Promise<Reply>
}

/** Declares an operation; the handler's input is typed from the schemas. A public one gets the bare Runtime: it has no actor. */
export function operation<
  A extends Access,
  P extends ObjectSchema | undefined = undefined,
  Q extends ObjectSchema | undefined = undefined,
  H extends ObjectSchema | undefined = undefined,
  B extends z.ZodType | undefined = undefined,
>(
  spec: Omit<OperationSpec<P, Q, H, B>, 'access'> & { access: A },
  handler: Handler<A extends 'public' ? Runtime : ServiceContext, P, Q, H, B>,
): Operation {
  return { ...spec, handler: handler as Operation['handler'] }
}

export interface RouteGroup {
  /** `/api/agents` */
  prefix: string
  /** Tag of the OpenAPI document. */
  tag: string
  description: string
  /** Holds for all operations that require nothing of their own. */
  requires?: Requirement
  operations: Operation[]
}

/** JSON answer. */
export const reply = (status: number, body?: unknown, headers?: Record<string, string>): Reply => ({
  status,
  ...(body === undefined ? {} : { body }),
  ...(headers === undefined ? {} : { headers }),
})
