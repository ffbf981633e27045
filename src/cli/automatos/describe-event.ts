import type { ExecutionEvent } from '../../../clients/typescript/src/index.ts'
import { oneLine, timeSpan } from './text.ts'

/** An event of a run as a line for people; null for what a line would not help. */
export function describeEvent(event: ExecutionEvent): string | null {
  const text = phrase(event)
  return text === null ? null : `${event.created_at.slice(11, 23)}  ${oneLine(text)}`
}

function phrase(event: ExecutionEvent): string | null {
  switch (event.type) {
    case 'step.started':
      return `▸ ${event.data.path} (${event.data.kind})`
    case 'step.succeeded':
      return `✓ ${event.data.path}`
    case 'step.failed':
      return `✗ ${event.data.path}: ${event.data.error.detail}`
    case 'step.retrying':
      return `↻ ${event.data.path}: ${event.data.error.detail}, again in ${timeSpan(event.data.delay_ms)}`
    case 'step.skipped':
      return `∅ ${event.data.path} skipped`
    case 'step.waiting':
      return `… ${event.data.path} ${waitsFor(event.data)}`
    case 'text.delta':
      return `“ ${event.data.path}: ${oneLine(event.data.text).slice(0, 100)}`
    case 'tool.call':
      return `→ ${event.data.path} calls ${event.data.name}`
    case 'tool.result':
      return `← ${event.data.path}: ${event.data.name} ${event.data.is_error ? 'failed' : 'answered'}`
    case 'usage':
      return `Σ ${event.data.path}: ${event.data.provider}/${event.data.model}, ${event.data.input_tokens ?? '?'} tokens in, ${event.data.output_tokens ?? '?'} out`
    case 'log':
      return `! ${event.data.level}: ${event.data.message}`
    case 'execution.failed':
    case 'execution.timed_out':
      return `● ${event.type}: ${event.data.error.detail}`
    case 'execution.canceled':
      return `● ${event.type}: ${event.data.reason}`
    default:
      // What a newer server adds is shown by its name.
      return `● ${(event as ExecutionEvent).type}`
  }
}

/** Without a time it waits for somebody or something else. */
export function waitsFor({ until, delay_ms }: { until?: string; delay_ms?: number }): string {
  if (until !== undefined) return `waits until ${until}`
  return delay_ms === undefined ? 'waits' : `waits ${timeSpan(delay_ms)}`
}
