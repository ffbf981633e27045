import type { Runtime, ServiceContext } from '../context.ts'
import { AppError, type ProblemKind } from '../lib/errors.ts'
import { withIdempotencyKey } from '../lib/idempotency-key.ts'
import type { Operation, Reply, RequestInput } from '../lib/operation.ts'
import { databaseFor } from '../services/acting-in.ts'
import { authenticate, authenticateWithTicket, authorize } from './authenticate.ts'
import { countedRequest } from './body-limit.ts'
import { conditional } from './conditional.ts'
import type { Exchange } from './exchange.ts'
import { idempotent } from './idempotent.ts'
import type { Admit, Answer } from './pipeline.ts'
import { validate, type ValidInput } from './validate.ts'

/** What stands around the handlers and is the same for every operation. */
export interface Guards {
  /** A failed authentication costs its address one request. */
  countFailure(exchange: Exchange): void | Promise<void>
  /** Throws `schema-behind` until the database has the schema that the code expects. */
  requireSchema(runtime: Runtime): void | Promise<void>
}

/** What somebody meets whom the handler of a public route has not verified, or not yet. */
const ofStrangers: ReadonlySet<ProblemKind> = new Set(['unauthenticated', 'not-found', 'too-large'])

/** What changes something is in the audit log with where it came from, also where nobody is known. */
const traced = (exchange: Exchange): Runtime & Pick<ServiceContext, 'requestId' | 'client'> => ({
  ...exchange.runtime,
  requestId: exchange.requestId,
  client: exchange,
})

type AnyInput = RequestInput<never, never, never, never>
type AnyHandler = (ctx: Runtime | ServiceContext, input: AnyInput) => Reply | Promise<Reply>

/** The inner end of the pipeline for an operation: authenticate, second stage of the limits, validate, handle. */
export function answerOperation(declared: Operation, guards: Guards): Answer {
  const operation = withKeyHeader(declared)
  // Safe: `operation()` tied the handler to the schemas whose output it gets here.
  const given = idempotent(operation, operation.handler as unknown as AnyHandler)
  const handler: AnyHandler =
    operation.etag === 'read' ? async (ctx, input) => conditional(await given(ctx, input), input.request) : given

  if (operation.access === 'public') {
    if (operation.verifiesSender) return (exchange) => sentBy(exchange)
    if (operation.method === 'get') return (exchange) => validated(exchange, exchange.runtime)
    return (exchange) => validated(exchange, traced(exchange))
  }
  const identify = operation.ticket ? authenticateWithTicket : authenticate

  return (exchange, admit) => {
    const ready = guards.requireSchema(exchange.runtime)
    return ready instanceof Promise ? ready.then(() => identified(exchange, admit)) : identified(exchange, admit)
  }

  function identified(exchange: Exchange, admit: Admit): Reply | Promise<Reply> {
    const caller = identify(exchange, guards.countFailure)
    if (!(caller instanceof Promise)) {
      exchange.caller = caller
      return admitted(exchange, admit)
    }
    return caller.then((verified) => {
      exchange.caller = verified
      return admitted(exchange, admit)
    })
  }

  function admitted(exchange: Exchange, admit: Admit): Reply | Promise<Reply> {
    const refusal = admit(exchange)
    if (refusal instanceof Promise) return refusal.then((ready) => ready ?? permitted(exchange))
    return refusal ?? permitted(exchange)
  }

  function permitted(exchange: Exchange): Reply | Promise<Reply> {
    const { caller, runtime, requestId } = exchange
    authorize(caller!, exchange.route)
    const log = runtime.log.with({ request_id: requestId })
    return validated(exchange, {
      ...runtime,
      db: databaseFor(runtime, caller!.actor),
      log,
      actor: caller!.actor,
      requestId,
      client: exchange,
    })
  }

  /** What the handler refuses costs the address one request, as a bad key does. */
  async function sentBy(exchange: Exchange): Promise<Reply> {
    await guards.requireSchema(exchange.runtime)
    try {
      return await validated(exchange, traced(exchange))
    } catch (error) {
      if (error instanceof AppError && ofStrangers.has(error.kind)) await guards.countFailure(exchange)
      throw error
    }
  }

  function validated(exchange: Exchange, ctx: Runtime | ServiceContext): Reply | Promise<Reply> {
    const input = validate(operation, exchange)
    if (input instanceof Promise) return input.then((valid) => handler(ctx, toInput(exchange, valid, operation)))
    return handler(ctx, toInput(exchange, input, operation))
  }
}

function withKeyHeader(operation: Operation): Operation {
  const headers = withIdempotencyKey(operation.headers, operation.idempotent)
  return headers === undefined ? operation : { ...operation, headers }
}

function toInput(exchange: Exchange, valid: ValidInput, { body }: Operation): AnyInput {
  const { request, route } = exchange
  return new Input(valid, body === undefined ? countedRequest(request, route.maxBodyBytes) : request)
}

/** A class for its getter: on Node touching the signal builds an AbortController, which few handlers need. */
class Input implements AnyInput {
  readonly params: never
  readonly query: never
  readonly headers: never
  readonly body: never
  readonly request: Request

  constructor(valid: ValidInput, request: Request) {
    // Safe: these are what the operation's own schemas gave.
    this.params = valid.params as never
    this.query = valid.query as never
    this.headers = valid.headers as never
    this.body = valid.body as never
    this.request = request
  }

  get signal(): AbortSignal {
    return this.request.signal
  }
}
