import { isObject } from '../../lib/json.ts'
import type { ToolStep } from '../recipes/definition.ts'
import { StepError, type StepExecutor } from '../runs/step-executor.ts'
import { runTool, type ToolOutcome } from '../tools/registry.ts'

/** Failures of tools that may pass; arguments and refusals stay what they are. */
const passing = new Set(['egress-failed', 'egress-timeout'])

/** One call of a tool. What a model would read as an error fails the step, and is not recorded: a retry calls again. */
export const toolStep: StepExecutor<ToolStep> = async (step, context) => {
  const input = step.arguments === undefined ? {} : context.render(step.arguments)
  const request = { name: step.tool, input }
  return context.effect(
    '0.0',
    'tool',
    request,
    async (idempotencyKey) => {
      context.emit('tool.call', { call: '0.0', ...request })
      const options = { signal: context.signal, idempotencyKey, now: new Date(context.now) }
      const outcome = await runTool(context.ctx, step.tool, input, options)
      context.emit('tool.result', { call: '0.0', name: step.tool, ...outcome })
      if (outcome.is_error) throw failureOf(outcome)
      return outcome.result
    },
    { final: () => true },
  )
}

function failureOf({ result }: ToolOutcome): StepError {
  const error = isObject(result) && isObject(result['error']) ? result['error'] : {}
  const kind = String(error['kind'] ?? 'tool_failed')
  return new StepError(kind, String(error['detail'] ?? 'The tool failed.'), { retryable: passing.has(kind) })
}
