type Data = Record<string, unknown>

/** An event of a run as a line for people; null for what a line would not help. */
export function describeEvent(type: string, event: { created_at: string; data: Data }): string | null {
  const text = phrase(type, event.data)
  return text === null ? null : `${event.created_at.slice(11, 23)}  ${text}`
}

function phrase(type: string, data: Data): string | null {
  const path = String(data['path'] ?? '')
  switch (type) {
    case 'step.started':
      return `▸ ${path} (${String(data['kind'])})`
    case 'step.succeeded':
      return `✓ ${path}`
    case 'step.failed':
      return `✗ ${path}: ${detailOf(data)}`
    case 'step.retrying':
      return `↻ ${path}: ${detailOf(data)}, again in ${String(data['delay_ms'])} ms`
    case 'step.skipped':
      return `∅ ${path} skipped`
    case 'step.waiting':
      return `… ${path} waits`
    case 'text.delta':
      return `  ${path} “${String(data['text']).replaceAll(/\s+/g, ' ').slice(0, 100)}”`
    case 'tool.call':
      return `  ${path} calls ${String(data['name'])}`
    case 'usage':
      return `  ${path} ${String(data['provider'])}/${String(data['model'])}: ${String(data['input_tokens'])} in, ${String(data['output_tokens'])} out`
    case 'log':
      return `  ${String(data['level'])}: ${String(data['message'])}`
    default:
      return type.startsWith('execution.') ? `● ${type}` : null
  }
}

const detailOf = (data: Data): string => String((data['error'] as Data | null)?.['detail'] ?? '')
