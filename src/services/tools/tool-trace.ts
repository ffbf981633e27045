import type { ServiceContext } from '../../context.ts'
import { failSpan, inSpan } from '../../lib/tracing.ts'
import type { ToolOutcome } from './registry.ts'
import type { ToolOptions } from './tool.ts'

/** One call of a tool that exists, counted, and in a span that follows OpenTelemetry's conventions for generative AI. */
export function inToolSpan(
  ctx: ServiceContext,
  name: string,
  { callId }: ToolOptions,
  work: (ctx: ServiceContext) => Promise<ToolOutcome>,
): Promise<ToolOutcome> {
  const attributes = {
    'gen_ai.operation.name': 'execute_tool',
    'gen_ai.tool.name': name,
    'gen_ai.tool.type': 'function',
    ...(callId !== undefined && { 'gen_ai.tool.call.id': callId }),
  }
  return inSpan(ctx, `execute_tool ${name}`, { attributes }, async (inner, span) => {
    const outcome = await work(inner)
    ctx.measures?.toolCalls.add(1, name, outcome.is_error ? 'error' : 'ok')
    if (span && outcome.is_error) failSpan(span, 'tool_error')
    return outcome
  })
}
