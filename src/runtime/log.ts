import type { Log } from '../context.ts'
import { toPlain } from './log-values.ts'

export const logLevels = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

export interface LogOptions {
  level: LogLevel
  /** `json` for machines: one object a line. `pretty` for a terminal. */
  format: 'json' | 'pretty'
  /** Takes one line, without its line end. */
  write: (line: string) => void
  now?: () => Date
}

type Fields = Record<string, unknown>

/** The log of every platform. Secrets, keys and credentials in fields, messages and errors are hidden. */
export const createLog = (options: LogOptions): Log =>
  new LineLog(options, { least: logLevels.indexOf(options.level) }, {})

/** A class, because every request binds a log of its own and most never write a line: that must cost next to nothing. */
class LineLog implements Log {
  readonly #options: LogOptions
  /** Shared by all that were bound from one. */
  readonly #level: { least: number }
  readonly #bound: Fields

  constructor(options: LogOptions, level: { least: number }, bound: Fields) {
    this.#options = options
    this.#level = level
    this.#bound = bound
  }

  debug(message: string, fields?: object): void {
    if (this.#level.least <= 0) this.#write('debug', message, fields)
  }
  info(message: string, fields?: object): void {
    if (this.#level.least <= 1) this.#write('info', message, fields)
  }
  warn(message: string, fields?: object): void {
    if (this.#level.least <= 2) this.#write('warn', message, fields)
  }
  error(message: string, fields?: object): void {
    this.#write('error', message, fields)
  }
  setLevel(level: LogLevel): void {
    this.#level.least = logLevels.indexOf(level)
  }
  with(fields: object): Log {
    return new LineLog(this.#options, this.#level, { ...this.#bound, ...fields })
  }

  #write(level: LogLevel, message: string, fields?: object): void {
    const { format, write, now } = this.#options
    const toLine = format === 'json' ? toJsonLine : toPrettyLine
    try {
      const all = toPlain({ ...this.#bound, ...fields }) as Fields
      write(hideCredentials(toLine(now?.() ?? new Date(), level, message, all)))
    } catch {
      // A log that cannot be written must not stop the work that it describes.
    }
  }
}

function toJsonLine(time: Date, level: LogLevel, message: string, fields: Fields): string {
  // Said twice: the first sets the order, the last keeps a field of the same name from taking their place.
  const own = { time: time.toISOString(), level, message }
  return JSON.stringify({ ...own, ...fields, ...own })
}

const colors: Record<LogLevel, string> = { debug: '\x1b[90m', info: '\x1b[36m', warn: '\x1b[33m', error: '\x1b[31m' }
const dim = '\x1b[2m'
const plain = '\x1b[0m'

function toPrettyLine(time: Date, level: LogLevel, message: string, fields: Fields): string {
  const { error, ...rest } = fields
  const clock = time.toISOString().slice(11, 23)
  let line = `${dim}${clock}${plain} ${colors[level]}${level.toUpperCase().padEnd(5)}${plain} ${printable(message)}`
  for (const [name, value] of Object.entries(rest)) line += ` ${dim}${name}=${plain}${printable(asText(value))}`
  if (error !== undefined) line += `\n${prettyError(error)}`
  return line
}

const asText = (value: unknown) => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''))

function prettyError(error: unknown): string {
  const { stack, cause } = (error ?? {}) as { stack?: unknown; cause?: unknown }
  const text = typeof stack === 'string' ? stack : asText(error)
  const lines = `  ${printable(text, '\n').replaceAll('\n', '\n  ')}`
  return cause === undefined ? lines : `${lines}\n  caused by:\n${prettyError(cause)}`
}

/** Control characters of foreign text could forge lines or drive the terminal; JSON escapes them by itself. */
function printable(text: string, keep = ''): string {
  let out = ''
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0
    const control = code < 0x20 || (code >= 0x7f && code < 0xa0)
    out += control && char !== keep ? `\\x${code.toString(16).padStart(2, '0')}` : char
  }
  return out
}

/** Credentials inside longer texts: our own keys, bearer tokens, passwords in URLs, signed links. Each pattern is linear. */
function hideCredentials(line: string): string {
  return line
    .replace(/\bak_(srv|pub)_[0-9a-f]{16,}/g, 'ak_$1_***')
    .replace(/\bwst_[\w.-]{16,}/g, 'wst_***')
    .replace(/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, '$1 ***')
    .replace(/:\/\/([^\s/:@"]*):[^\s/@"]+@/g, '://$1:***@')
    .replace(/([?&](?:token|ticket|signature|api_?key|key|secret|password)=)[^&\s"\\]+/gi, '$1***')
}
