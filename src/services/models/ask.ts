import type { LanguageModelV4 } from '@ai-sdk/provider'
import type { Span } from '@opentelemetry/api'
import type { ServiceContext } from '../../context.ts'
import type { JsonObject } from '../../lib/json.ts'
import { findPrice } from './catalogue.ts'
import { costOf } from './cost.ts'
import { EgressError } from '../../lib/egress-error.ts'
import { ModelError, toModelError } from './errors.ts'
import { openOffline } from './offline/model.ts'
import { toCallOptions } from './prompt.ts'
import { findProvider, offlineProvider, type Connection, type Provider } from './providers.ts'
import { notConfigured, resolveModel } from './resolve.ts'
import { newProgress, readAnswer, type StreamProgress } from './stream.ts'
import { inModelSpan, tellAnswer } from './model-trace.ts'
import { countCall } from './usage.ts'
import type { AskOptions, ModelAnswer, ModelChoice, ModelRequest, ModelUsage } from './types.ts'

const maxAnswerBytes = 50 * 1024 * 1024

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
  let earlierRetryMs: number | null = null
  for (const candidate of chainOf(choice)) {
    try {
      return await inModelSpan(ctx, request, candidate.choice, (inner, span) =>
        askOne(inner, request, candidate.choice, options, span),
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
  { signal, onText, onUsage, mayAsk, files }: AskOptions,
  span: Span | null,
): Promise<ModelAnswer> {
  const who = `${choice.provider}/${choice.model}`
  const opened = await openModel(ctx, choice)
  // A file that this provider does not take is no call of it, and nothing to pay.
  const call = toCallOptions(request, choice, files)
  await mayAsk?.({ who, priced: await isPriced(ctx, choice, opened) })
  signal?.throwIfAborted()
  const timeoutMs = ctx.config.modelTimeoutS * 1000
  const timeout = AbortSignal.timeout(timeoutMs)
  const abort = signal ? AbortSignal.any([signal, timeout]) : timeout
  const progress = newProgress()
  const startedMs = ctx.clock.monotonicMs()
  const latency = () => Math.max(0, Math.round(ctx.clock.monotonicMs() - startedMs))
  const account = async (status: ModelUsage['status'], error: string | null, isFree = false) => {
    const bill = isFree ? { cost_usd: '0', price: null } : await billOf(ctx, choice, progress, opened)
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
    const failure = timeout.aborted
      ? new ModelError('model-timeout', `${who} gave no answer within ${timeoutMs / 1000} s.`, {
          fallback: !progress.textStarted,
        })
      : failureOf(error, who, ctx.clock.now().getTime(), progress)
    // Who answers with an error's status has not begun to answer, and charges nothing.
    await account('error', failure.kind, failure.status !== null && !progress.begun)
    throw failure
  }
}

function failureOf(error: unknown, who: string, nowMs: number, progress: StreamProgress): ModelError {
  const refused = egressErrorOf(error)
  if (refused?.kind === 'egress-refused') return new ModelError('model-refused', `${who}: ${refused.message}`)
  const failure = toModelError(error, who, nowMs)
  if (failure.kind === 'upstream-failed' && failure.status === null && progress.begun) {
    return new ModelError('model-malformed', `${who} cut its answer off before the end.`, { cause: error })
  }
  // Text that was shown cannot be taken back, so after its start another model does not take over.
  if (!failure.fallback || !progress.textStarted) return failure
  return new ModelError(failure.kind, failure.message, { status: failure.status, retryAfterMs: failure.retryAfterMs })
}

/** The SDK wraps what its `fetch` throws. */
function egressErrorOf(error: unknown): EgressError | null {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 5; cause = cause.cause, depth++) {
    if (cause instanceof EgressError) return cause
  }
  return null
}

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
  const connection = choice.base_url === undefined ? provider.connection(ctx.config) : tenantConnection(ctx, choice)
  if (connection === null) throw notConfigured(`Provider '${provider.id}' needs ${provider.requires}.`)
  return { model: await provider.open(connection, choice.model), provider, simulated: false }
}

/** A server that the tenant names: reached through the guard, and never with a key of ours. */
function tenantConnection(ctx: ServiceContext, choice: ModelChoice): Connection {
  if (choice.provider !== 'openai-compatible') {
    throw notConfigured(`base_url is for provider 'openai-compatible', not for '${choice.provider}'.`)
  }
  const guarded = (input: string | URL | Request, init?: RequestInit) =>
    ctx.egress(new Request(input, init), {
      workspaceId: ctx.actor.workspaceId,
      ...(choice.credential !== undefined && { credential: choice.credential }),
      ...(init?.signal && { signal: init.signal }),
      timeoutMs: ctx.config.modelTimeoutS * 1000,
      maxResponseBytes: maxAnswerBytes,
      maxRedirects: 0,
    })
  return { baseUrl: choice.base_url!, apiKey: null, fetch: guarded }
}

/** Whether the cost of a call will be known, as far as can be told before it is made. */
async function isPriced(ctx: ServiceContext, choice: ModelChoice, opened: OpenedModel): Promise<boolean> {
  if (opened.simulated || opened.provider?.reportedCost) return true
  const price = choice.base_url === undefined ? await findPrice(ctx, choice.provider, choice.model) : null
  return price !== null && price.input_usd !== null && price.output_usd !== null
}

/** The cost with the prices that made it. What the provider itself says it charged comes first. */
async function billOf(
  ctx: ServiceContext,
  choice: ModelChoice,
  progress: StreamProgress,
  opened: OpenedModel,
): Promise<{ cost_usd: string | null; price: JsonObject | null }> {
  if (opened.simulated) return { cost_usd: '0', price: null }
  const reported = progress.rawUsage && opened.provider?.reportedCost?.(progress.rawUsage)
  if (reported) return { cost_usd: reported, price: { source: 'provider' } }
  // A tenant's own server may call its models what it likes; our prices say nothing about it.
  const price = choice.base_url === undefined ? await findPrice(ctx, choice.provider, choice.model) : null
  if (price === null) return { cost_usd: null, price: null }
  const { usage, cacheWriteTokens } = progress
  return {
    cost_usd: costOf(usage, cacheWriteTokens, price),
    price: { source: 'catalogue', ...price, ...(cacheWriteTokens > 0 && { cache_write_tokens: cacheWriteTokens }) },
  }
}
