import { SpanKind, type Attributes, type Span } from '@opentelemetry/api'
import type { ServiceContext } from '../../context.ts'
import { inSpan } from '../../lib/tracing.ts'
import type { StreamProgress } from './stream.ts'
import type { ModelChoice, ModelRequest, ModelUsage } from './types.ts'

/** Names of OpenTelemetry's conventions where they are not ours. */
const conventional: Record<string, string> = { google: 'gcp.gemini' }

/** One call of a model, in OpenTelemetry's conventions for generative AI. What was asked and answered stays out of it. */
export function inModelSpan<T>(
  ctx: ServiceContext,
  request: ModelRequest,
  choice: ModelChoice,
  work: (ctx: ServiceContext, span: Span | null) => Promise<T>,
): Promise<T> {
  if (!ctx.tracing) return work(ctx, null)
  const most = smallest(request.max_output_tokens, choice.max_output_tokens)
  const attributes: Attributes = {
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': conventional[choice.provider] ?? choice.provider,
    'gen_ai.request.model': choice.model,
    'gen_ai.output.type': request.output_schema ? 'json' : 'text',
    ...(choice.temperature !== undefined && { 'gen_ai.request.temperature': choice.temperature }),
    ...(choice.top_p !== undefined && { 'gen_ai.request.top_p': choice.top_p }),
    ...(most !== undefined && { 'gen_ai.request.max_tokens': most }),
    ...(choice.base_url !== undefined && { 'server.address': new URL(choice.base_url).hostname }),
  }
  return inSpan(ctx, `chat ${choice.model}`, { kind: SpanKind.CLIENT, attributes }, work)
}

/** What is known once the call is over, also when it failed half way. */
export function tellAnswer(span: Span, usage: ModelUsage, { responseModel, responseId }: StreamProgress): void {
  const known = {
    'gen_ai.response.model': responseModel,
    'gen_ai.response.id': responseId,
    'gen_ai.usage.input_tokens': usage.input_tokens,
    'gen_ai.usage.output_tokens': usage.output_tokens,
    'gen_ai.usage.cache_read.input_tokens': usage.cached_input_tokens,
    'automatos.usage.cost_usd': usage.cost_usd === null ? null : Number(usage.cost_usd),
  }
  for (const [name, value] of Object.entries(known)) if (value !== null) span.setAttribute(name, value)
  if (usage.simulated) span.setAttribute('automatos.simulated', true)
}

const smallest = (...limits: (number | undefined)[]): number | undefined => {
  const given = limits.filter((limit) => limit !== undefined)
  return given.length > 0 ? Math.min(...given) : undefined
}
