import { harmless } from './text.ts'

type Paint = (text: string) => string
export interface Style {
  bold: Paint
  dim: Paint
  red: Paint
  green: Paint
  yellow: Paint
  cyan: Paint
}

/** Where output goes, and what may be done there. */
export interface Terminal {
  /** One JSON document or JSON lines on standard output, and nothing else. */
  json: boolean
  /** Whether standard output is a terminal whose lines may be drawn again. */
  interactive: boolean
  /** Of standard output. */
  style: Style
  columns(): number
  rows(): number
  /** To standard output as it is. */
  write(text: string): void
  line(text?: string): void
  /** A value that is the command's result: on a terminal without what could steer it, elsewhere untouched. */
  result(text: string): void
  document(value: unknown): void
  jsonLine(value: unknown): void
  /** For people, beside the result: standard error. */
  note(text: string): void
  error(text: string): void
}

const codes = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const

export const styleOf = (coloured: boolean): Style =>
  Object.fromEntries(
    Object.entries(codes).map(([name, code]) => [
      name,
      (text: string) => (coloured && text !== '' ? `\u001b[${code}m${text}\u001b[0m` : text),
    ]),
  ) as unknown as Style

export function openTerminal(json: boolean): Terminal {
  const { stdout, stderr, env } = process
  const mayColour = !env['NO_COLOR'] && env['TERM'] !== 'dumb'
  const onTerminal = stdout.isTTY === true
  const write = (text: string) => void stdout.write(text)
  const line = (text = '') => write(`${text}\n`)
  return {
    json,
    interactive: onTerminal && !json && env['TERM'] !== 'dumb',
    style: styleOf(onTerminal && mayColour),
    // Without a terminal nothing is cut: whoever reads it wants all of it.
    columns: () => (onTerminal ? stdout.columns || 80 : Infinity),
    rows: () => stdout.rows || 24,
    write,
    line,
    result: (text) => line(onTerminal ? harmless(text) : text),
    document: (value) => line(JSON.stringify(value, null, 2)),
    jsonLine: (value) => line(JSON.stringify(value)),
    note: (text) => void stderr.write(`${harmless(text)}\n`),
    error: (text) => {
      const { red } = styleOf(stderr.isTTY === true && mayColour)
      stderr.write(`${red('error:')} ${harmless(text)}\n`)
    },
  }
}
