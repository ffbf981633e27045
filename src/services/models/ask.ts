import type { LanguageModelV4, LanguageModelV4CallOptions } from '@ai-sdk/provider'
import type { Span } from '@opentelemetry/api'
import type { ServiceContext } from '../../context.ts'
import { DatabaseAway } from '../../lib/database-away.ts'
import { EgressError } from '../../lib/egress-error.ts'
import type { JsonObject } from '../../lib/json.ts'
import { hold, ownCharge, type Charge, type Hold } from '../budgets/hold.ts'
import { dearestPrice, findTerms, type CallTerms } from './catalogue.ts'
import { costOf } from './cost.ts'
import { ModelError, toModelError } from './errors.ts'
import { mostItCosts } from './estimate.ts'
import { openOffline } from './offline/model.ts'
import { guardedFetch, ownConnection } from './own-keys.ts'
import { toCallOptions } from './prompt.ts'
import { findProvider, offlineProvider, type Connection, type Provider } from './providers.ts'
import { notConfigured, resolveModel } from './resolve.ts'
import { newProgress, readAnswer, type StreamProgress } from './stream.ts'
import { inModelSpan, tellAnswer } from './model-trace.ts'
import { countCall } from './usage.ts'
import type { AskOptions, ModelAnswer, ModelChoice, ModelRequest, ModelUsage } from './types.ts'

/**
 * One round with a model: the first of the chain that answers. Calls no tool and never repeats a call: what to do with
 * tool calls and failures is the caller's, who records each round. Throws ModelError, or the signal's reason when aborted.
 */
export async function askModel(
  ctx: ServiceContext,
  request: ModelRequest,
  options: AskOptions = {},
): Promise<ModelAnswer> {
  const { choice } = await resolveModel(ctx, request.choice)
  const charge = options.charge ?? ownCharge(ctx)
  let earlierRetryMs: number | null = null
  for (const [index, candidate] of chainOf(choice).entries()) {
    try {
      return await inModelSpan(ctx, request, candidate.choice, (inner, span) =>
        askOne(inner, request, candidate.choice, options, charge, index, span),
      )
    } catch (error) {
      if (!(error instanceof ModelError)) throw error
      const waits: number[] = [earlierRetryMs, error.retryAfterMs].filter((ms) => ms !== null)
      earlierRetryMs = waits.length > 0 ? Math.min(...waits) : null
      if (!error.fallback || candidate.last) throw withRetryAfter(error, earlierRetryMs)
      ctx.log.warn('model failed, asking the next of the chain', {
        provider: candidate.choice.provider,
        model: candidate.choice.model,
        kind: error.kind,
        status: error.status,
      })
    }
  }
  throw notConfigured('The chain of models is empty.')
}

function chainOf({ fallbacks, ...choice }: ModelChoice): { choice: ModelChoice; last: boolean }[] {
  // A fallback has its own address or none: that of the first choice belongs to another provider.
  const { base_url: _url, credential: _credential, ...settings } = choice
  const chain = [
    choice,
    ...(fallbacks ?? [])
      .filter(({ provider }) => provider !== offlineProvider)
      .map((fallback) => ({ ...settings, ...fallback })),
  ]
  return chain.map((each, index) => ({ choice: each, last: index === chain.length - 1 }))
}

/** The final error of a chain says when the first of its models may be asked again. */
const withRetryAfter = (error: ModelError, retryAfterMs: number | null): ModelError =>
  error.retryAfterMs === retryAfterMs
    ? error
    : new ModelError(error.kind, error.message, { status: error.status, retryAfterMs, cause: error })

async function askOne(
  ctx: ServiceContext,
  request: ModelRequest,
  choice: ModelChoice,
  { signal, onText, onUsage, files }: AskOptions,
  charge: Charge,
  index: number,
  span: Span | null,
): Promise<ModelAnswer> {
  const who = `${choice.provider}/${choice.model}`
  // The key of the workspace and the terms of the call are read side by side.
  const [opened, terms] = await Promise.all([openModel(ctx, choice), termsOf(ctx, choice, charge)])
  // A file that this provider does not take is no call of it, and nothing to pay.
  const call = toCallOptions(request, choice, files)
  const held = await reserveFor(ctx, charge, { index, who, call, opened, terms, signal })
  if (signal?.aborted) {
    await held?.settle('0')
    throw signal.reason
  }
  const timeoutMs = ctx.config.modelTimeoutS * 1000
  const timeout = AbortSignal.timeout(timeoutMs)
  const abort = signal ? AbortSignal.any([signal, timeout]) : timeout
  const progress = newProgress()
  const startedMs = ctx.clock.monotonicMs()
  const latency = () => Math.max(0, Math.round(ctx.clock.monotonicMs() - startedMs))
  const account = async (status: ModelUsage['status'], error: string | null, isFree = false) => {
    const bill = isFree ? { cost_usd: '0', price: null } : billOf(terms, progress, opened)
    const usage: ModelUsage = {
      provider: choice.provider,
      model: choice.model,
      status,
      error,
      ...progress.usage,
      ...bill,
      latency_ms: latency(),
      simulated: opened.simulated,
    }
    countCall(ctx, usage)
    if (span) tellAnswer(span, usage, progress)
    onUsage?.(usage)
    await held?.settle(bill.cost_usd)
    return bill.cost_usd
  }
  try {
    const { stream } = await opened.model.doStream({
      ...call,
      ...(opened.provider?.options && { providerOptions: opened.provider.options }),
      abortSignal: abort,
    })
    progress.begun = true
    const answer = await readAnswer(stream, who, { signal: abort, progress, onText })
    span?.setAttribute('gen_ai.response.finish_reasons', [answer.finishReason])
    const latencyMs = latency()
    const cost = await account('ok', null)
    return {
      text: answer.text,
      tool_calls: answer.toolCalls,
      finish_reason: answer.finishReason,
      provider: choice.provider,
      model: choice.model,
      usage: progress.usage,
      cost_usd: cost,
      latency_ms: latencyMs,
      ...(answer.continuation !== null && {
        continuation: { provider: choice.provider, parts: answer.continuation },
      }),
      ...(opened.simulated && { simulated: true as const }),
    }
  } catch (error) {
    if (signal?.aborted) {
      await account('canceled', null)
      throw signal.reason
    }
    const away = causeOf(error, (cause) => cause instanceof DatabaseAway)
    if (away && !timeout.aborted) {
      // Nothing was asked: whoever can wait for the database begins again.
      await held?.settle('0')
      throw away
    }
    const failure = timeout.aborted
      ? new ModelError('model-timeout', `${who} gave no answer within ${timeoutMs / 1000} s.`, {
          fallback: !progress.textStarted,
        })
      : failureOf(error, who, ctx.clock.now().getTime(), progress)
    // Who answers with an error's status has not begun to answer, and charges nothing; no more does who was never asked.
    const isFree = failure.status !== null || (!timeout.aborted && neverLeft(error))
    await account('error', failure.kind, isFree && !progress.begun)
    throw failure
  }
}

function failureOf(error: unknown, who: string, nowMs: number, progress: StreamProgress): ModelError {
  const refused = causeOf(error, isRefusal)
  if (refused) return new ModelError('model-refused', `${who}: ${(refused as Error).message}`)
  const failure = toModelError(error, who, nowMs)
  if (failure.kind === 'upstream-failed' && failure.status === null && progress.begun) {
    return new ModelError('model-malformed', `${who} cut its answer off before the end.`, { cause: error })
  }
  // Text that was shown cannot be taken back, so after its start another model does not take over.
  if (!failure.fallback || !progress.textStarted) return failure
  return new ModelError(failure.kind, failure.message, { status: failure.status, retryAfterMs: failure.retryAfterMs })
}

/** The SDK wraps what its `fetch` throws, and the guard what the network does. */
function causeOf(error: unknown, is: (cause: Error) => boolean): Error | null {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 5; cause = cause.cause, depth++) {
    if (is(cause)) return cause
  }
  return null
}

const isRefusal = (error: Error): boolean => error instanceof EgressError && error.kind === 'egress-refused'

/** No connection came about. The last is what Bun says. */
const connectCodes = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ConnectionRefused)$/

/** Of what failed otherwise nobody knows whether it was worked on. */
const neverLeft = (error: unknown): boolean =>
  causeOf(error, (cause) => isRefusal(cause) || connectCodes.test(String((cause as { code?: unknown }).code))) !== null

interface OpenedModel {
  model: LanguageModelV4
  provider: Provider | null
  simulated: boolean
}

async function openModel(ctx: ServiceContext, choice: ModelChoice): Promise<OpenedModel> {
  if (choice.provider === offlineProvider) {
    if (ctx.config.environment === 'production' && !ctx.config.allowOfflineModel) {
      throw notConfigured('The offline model gives simulated answers; in production it needs ALLOW_OFFLINE_MODEL=true.')
    }
    return { model: openOffline(choice.model), provider: null, simulated: true }
  }
  const provider = findProvider(choice.provider)
  if (!provider) throw notConfigured(`There is no provider '${choice.provider}'.`)
  const connection =
    choice.base_url === undefined
      ? ((await ownConnection(ctx, provider)) ?? provider.connection(ctx.config))
      : tenantConnection(ctx, choice)
  if (connection === null) throw notConfigured(`Provider '${provider.id}' needs ${provider.requires}.`)
  return { model: await provider.open(connection, choice.model), provider, simulated: false }
}

/** A server that the tenant names: reached through the guard, and never with a key of ours. */
function tenantConnection(ctx: ServiceContext, choice: ModelChoice): Connection {
  if (choice.provider !== 'openai-compatible') {
    throw notConfigured(`base_url is for provider 'openai-compatible', not for '${choice.provider}'.`)
  }
  return { baseUrl: choice.base_url!, apiKey: null, fetch: guardedFetch(ctx, choice.credential) }
}

/** The offline model costs nothing. */
const freeTerms: CallTerms = { price: null, max_output_tokens: null, bounded: false, workflowBounded: false }

/** A tenant's own server may call its models what it likes; our prices say nothing about it. */
const termsOf = async (ctx: ServiceContext, choice: ModelChoice, charge: Charge): Promise<CallTerms> =>
  choice.provider === offlineProvider
    ? freeTerms
    : findTerms(ctx, choice.base_url === undefined ? choice : null, (await charge.above()).workflow)

/** Whether the cost of a call will be known, as far as can be told before it is made. */
const isPriced = ({ simulated, provider }: OpenedModel, { price }: CallTerms): boolean =>
  simulated || provider?.reportedCost !== undefined || (price?.input_usd != null && price.output_usd !== null)

/** What the call may cost is reserved in the budgets that it counts for. Null: in none. */
async function reserveFor(
  ctx: ServiceContext,
  charge: Charge,
  { index, who, call, opened, terms, signal }: AskedCall,
): Promise<Hold | null> {
  const priced = isPriced(opened, terms)
  charge.check?.({ who, priced })
  if (opened.simulated) return null
  const { price, max_output_tokens: longest, bounded, workflowBounded } = terms
  const amount = async () => {
    const known = price && mostItCosts(call, price, longest)
    if (known !== null || !priced) return known
    // The provider tells what it charged, only not before.
    return mostItCosts(call, await dearestPrice(ctx), longest)
  }
  return hold(ctx, charge, { index, who, bounded, workflowBounded, amount, signal })
}

interface AskedCall {
  index: number
  who: string
  call: LanguageModelV4CallOptions
  opened: OpenedModel
  terms: CallTerms
  signal: AbortSignal | undefined
}

/** The cost with the prices that made it. What the provider itself says it charged comes first. */
function billOf(
  { price }: CallTerms,
  progress: StreamProgress,
  opened: OpenedModel,
): { cost_usd: string | null; price: JsonObject | null } {
  if (opened.simulated) return { cost_usd: '0', price: null }
  const reported = progress.rawUsage && opened.provider?.reportedCost?.(progress.rawUsage)
  if (reported) return { cost_usd: reported, price: { source: 'provider' } }
  if (price === null) return { cost_usd: null, price: null }
  const { usage, cacheWriteTokens } = progress
  return {
    cost_usd: costOf(usage, cacheWriteTokens, price),
    price: { source: 'catalogue', ...price, ...(cacheWriteTokens > 0 && { cache_write_tokens: cacheWriteTokens }) },
  }
}
