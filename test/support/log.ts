import type { Log } from '../../src/context.ts'

export interface LogLine {
  level: 'debug' | 'info' | 'warn' | 'error'
  message: string
  fields: Record<string, unknown>
}

/** A log that keeps its lines for the test to read. */
export function createTestLog(lines: LogLine[] = [], bound: object = {}): Log & { lines: LogLine[] } {
  const writer = (level: LogLine['level']) => (message: string, fields?: object) => {
    lines.push({ level, message, fields: { ...bound, ...fields } })
  }
  return {
    lines,
    debug: writer('debug'),
    info: writer('info'),
    warn: writer('warn'),
    error: writer('error'),
    with: (fields) => createTestLog(lines, { ...bound, ...fields }),
  }
}
