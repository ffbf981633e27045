import type { Runtime } from '../context.ts'
import { AppError } from '../lib/errors.ts'
import type { Reply } from '../lib/operation.ts'
import { Exchange, type Decision, type HeaderBag, type Hooks, type Layer, type Route } from './exchange.ts'
import { closed, type Closed } from './closed-runtime.ts'
import { describe, pathOf, requestFields, toProblem } from './problems.ts'
import { toResponse } from './respond.ts'

export interface Opened {
  runtime: Runtime
  /** Called once the answer's body has ended: a Worker closes its per-request database here. */
  close?: () => Promise<void>
}
export interface Waiter {
  waitUntil(work: Promise<unknown>): void
}
export type OpenRuntime = (env: unknown, executionCtx?: Waiter) => Opened | Promise<Opened>

/** What ends a pipeline: authentication, validation and the handler, or a refusal. */
export type Answer = (exchange: Exchange, admit: Admit) => Reply | Promise<Reply>
/** Shows the verified caller to the layers that want to see it. */
export type Admit = (exchange: Exchange) => Decision | Promise<Decision>

const noParams: Record<string, string> = {}

function paramsOf(names: string[], values: readonly string[]): Record<string, string> {
  const params: Record<string, string> = {}
  for (let i = 0; i < names.length; i++) {
    const value = values[i]!
    params[names[i]!] = value.includes('%') ? decoded(value) : value
  }
  return params
}

/** What is no encoded text stands for itself. */
function decoded(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}

/** `%ff` and the like stand for no text. The router would pass them on undecoded. */
function requireReadablePath(request: Request): void {
  if (!request.url.includes('%')) return
  try {
    decodeURIComponent(pathOf(request))
  } catch {
    throw new AppError('malformed', 'The path is not valid percent-encoded UTF-8.')
  }
}

type HookName = Exclude<keyof Hooks, 'fixedHeaders'>
type Hook<K extends HookName> = NonNullable<Hooks[K]>
const collect = <K extends HookName>(hooks: Hooks[], name: K): Hook<K>[] =>
  hooks.flatMap((hook) => (hook[name] ? [hook[name] as Hook<K>] : []))

/** Answers a request. `values` are what the parameters of its route stand for in the path, in their order there. */
export type Endpoint = (
  request: Request,
  env: unknown,
  waiter: Waiter | undefined,
  values: readonly string[],
) => Response | Promise<Response>

/**
 * Compiles the layers into one handler for one route. The layers stay apart in their files; here only what each does on
 * this route is left, in four flat lists. The answer is written once, with the headers of all layers, and stays
 * synchronous when everything on the way is: both are what the measured speed rests on.
 */
export function compile(open: OpenRuntime, layers: readonly Layer[], route: Route, answer: Answer): Endpoint {
  const hooks = layers.map((layer) => layer.on(route))
  const before = collect(hooks, 'before')
  const admitHooks = collect(hooks, 'admit')
  const fixedHeaders: HeaderBag = Object.assign({}, ...hooks.map((hook) => hook.fixedHeaders))
  const headerHooks = collect(hooks, 'headers')
  const afterHooks = collect(hooks, 'after')
  const endedHooks = collect(hooks, 'ended')
  const admit: Admit = (exchange) => runFrom(0, admitHooks, exchange)

  const names = route.path.split('/').flatMap((segment) => (segment.startsWith(':') ? [segment.slice(1)] : []))

  return (request, env, waiter, values) => {
    const params = names.length === 0 ? noParams : paramsOf(names, values)
    const begin = (opened: Opened | Closed) =>
      start(new Exchange(request, env, route, opened.runtime, params), opened, waiter)
    try {
      const opened = open(env, waiter)
      return opened instanceof Promise ? opened.catch(closed).then(begin) : begin(opened)
    } catch (error) {
      return begin(closed(error))
    }
  }

  function start(
    exchange: Exchange,
    opened: Opened | Closed,
    waiter: Waiter | undefined,
  ): Response | Promise<Response> {
    if ('openError' in opened) return refuse(exchange, opened)
    try {
      const reply = decide(exchange)
      if (!(reply instanceof Promise)) return finish(exchange, reply, opened, waiter)
      return reply.then(
        (ready) => finish(exchange, ready, opened, waiter),
        (error: unknown) => finish(exchange, toProblem(error, exchange), opened, waiter),
      )
    } catch (error) {
      return finish(exchange, toProblem(error, exchange), opened, waiter)
    }
  }

  /** Without a runtime the layers still give the answer its id, its headers and its place in the figures. */
  function refuse(exchange: Exchange, { runtime, openError }: Closed): Response | Promise<Response> {
    const answered = () => {
      // Nothing was counted, so there is nothing to tell.
      exchange.limit = exchange.widgetLimit = null
      const error = new AppError('unavailable', 'The service cannot start.', { cause: openError })
      return finish(exchange, toProblem(error, exchange), { runtime }, undefined)
    }
    try {
      const early = runFrom(0, before, exchange)
      return early instanceof Promise ? early.then(answered, answered) : answered()
    } catch {
      return answered()
    }
  }

  function decide(exchange: Exchange): Reply | Promise<Reply> {
    const refusal = runFrom(0, before, exchange)
    if (refusal instanceof Promise) return refusal.then((ready) => ready ?? answerReadable(exchange))
    return refusal ?? answerReadable(exchange)
  }

  function answerReadable(exchange: Exchange): Reply | Promise<Reply> {
    requireReadablePath(exchange.request)
    return answer(exchange, admit)
  }

  function finish(exchange: Exchange, reply: Reply, opened: Opened, waiter: Waiter | undefined): Response {
    const headers: HeaderBag = { ...fixedHeaders }
    for (let i = 0; i < headerHooks.length; i++) headerHooks[i]!(exchange, headers)
    let response
    let isOver = false
    const ended = (error: unknown) => {
      if (isOver) return
      isOver = true
      if (error !== null)
        exchange.runtime.log.error('A stream broke.', { ...requestFields(exchange), error: describe(error) })
      for (let i = 0; i < endedHooks.length; i++) endedHooks[i]!(exchange, error)
      if (opened.close) closeAfterwards(opened, waiter, exchange)
    }
    try {
      response = toResponse(reply, exchange.method, headers, ended)
    } catch (error) {
      // A body that cannot be written (a cycle, a BigInt) is a bug of its handler and ends like any other.
      response = toResponse(toProblem(error, exchange), exchange.method, { ...headers }, ended)
    }
    for (let i = 0; i < afterHooks.length; i++) afterHooks[i]!(exchange, response.status)
    return response
  }
}

/** Runs hooks in order until one decides; leaves the synchronous track only when a hook does. */
function runFrom<H extends Hook<'before'> | Hook<'admit'>>(
  first: number,
  hooks: H[],
  exchange: Exchange,
): Decision | Promise<Decision> {
  for (let i = first; i < hooks.length; i++) {
    const decision = hooks[i]!(exchange, exchange.caller!)
    if (decision === undefined) continue
    if (!(decision instanceof Promise)) return decision
    return decision.then((ready) => ready ?? runFrom(i + 1, hooks, exchange))
  }
  return undefined
}

function closeAfterwards(opened: Opened, waiter: Waiter | undefined, { runtime }: Exchange): void {
  const closing = opened.close!().catch((error: unknown) => {
    runtime.log.error('A runtime could not be closed.', { error: describe(error) })
  })
  waiter?.waitUntil(closing)
}
