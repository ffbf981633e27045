import type { ServiceContext } from '../../context.ts'
import { eachAuditLog, type AuditFilter, type AuditLog } from './read.ts'

export type AuditFormat = 'ndjson' | 'csv'

const columns: readonly [string, (log: AuditLog) => unknown][] = [
  ['seq', (log) => log.seq],
  ['id', (log) => log.id],
  ['created_at', (log) => log.created_at],
  ['actor_kind', (log) => log.actor.kind],
  ['actor_id', (log) => log.actor.id],
  ['action', (log) => log.action],
  ['target_type', (log) => log.target.type],
  ['target_id', (log) => log.target.id],
  ['request_id', (log) => log.request_id],
  ['client_address', (log) => log.client_address],
  ['before', (log) => log.before],
  ['after', (log) => log.after],
  ['hash', (log) => log.hash],
]

/** A text that a spreadsheet would take for a formula gets an apostrophe in front. Every cell is quoted. */
function cell(value: unknown): string {
  if (value === null || value === undefined) return ''
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  const safe = typeof value !== 'number' && /^[\s]*[=+\-@|\t\r]/.test(text) ? `'${text}` : text
  return `"${safe.replaceAll('"', '""')}"`
}

const line = {
  ndjson: (log: AuditLog) => `${JSON.stringify(log)}\n`,
  csv: (log: AuditLog) => `${columns.map(([, valueOf]) => cell(valueOf(log))).join(',')}\r\n`,
}

/** The log as a stream of text that holds one page of it at a time and reads no faster than it is taken. */
export function exportAuditLogs(
  ctx: Pick<ServiceContext, 'db' | 'actor'>,
  { format, ...filter }: AuditFilter & { format: AuditFormat },
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  const pages = eachAuditLog(ctx, filter)
  let head = format === 'csv' ? `${columns.map(([name]) => name).join(',')}\r\n` : ''
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value = [] } = await pages.next()
        const text = head + value.map(line[format]).join('')
        head = ''
        if (text !== '') controller.enqueue(encoder.encode(text))
        if (done) controller.close()
      },
      cancel: async () => void (await pages.return(undefined)),
    },
    { highWaterMark: 0 },
  )
}
