import { zonedFields, type ZonedFields } from '../zoned-fields.ts'
import { LanguageError } from './scope.ts'

const isoForm =
  /^(\d{4})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s?(Z|z|[+-]\d{2}(?::?\d{2})?))?$/
const mailForm =
  /^(?:[A-Za-z]{3,9},? +)?(\d{1,2}) ([A-Za-z]{3})[a-z]* (\d{4}) (\d{2}):(\d{2})(?::(\d{2}))? ([A-Z]{1,3}|[+-]\d{4})$/

/** The zones that RFC 822 names; feeds still use them. */
const namedOffsets: Record<string, string> = {
  GMT: '+00:00',
  UTC: '+00:00',
  UT: '+00:00',
  Z: '+00:00',
  EST: '-05:00',
  EDT: '-04:00',
  CST: '-06:00',
  CDT: '-05:00',
  MST: '-07:00',
  MDT: '-06:00',
  PST: '-08:00',
  PDT: '-07:00',
}
const monthNames = 'January February March April May June July August September October November December'.split(' ')
const dayNames = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ')

/**
 * Milliseconds since 1970 of an ISO-8601 or RFC 822 date; null for anything else. A time needs its zone, because
 * the machine's own would make the answer depend on where it runs. A date alone is its midnight in UTC.
 */
export function parseInstant(text: string): number | null {
  if (text.length < 10 || text.length > 60) return null
  const iso = isoForm.exec(text)
  if (iso) {
    const [, year, month, day, hour, minute, second, fraction = '', zone = 'Z'] = iso
    const ms = Number(fraction.slice(0, 3).padEnd(3, '0'))
    return utc(Number(year), Number(month), Number(day), hour, minute, second, ms, zone)
  }
  const mail = mailForm.exec(text)
  if (!mail) return null
  const [, day, monthName = '', year, hour, minute, second, zone = ''] = mail
  const month = monthNames.findIndex((name) => name.slice(0, 3).toLowerCase() === monthName.toLowerCase())
  const offset = namedOffsets[zone] ?? zone
  if (month < 0 || /[A-Z]/.test(offset)) return null
  return utc(Number(year), month + 1, Number(day), hour, minute, second, 0, offset)
}

function utc(
  year: number,
  month: number,
  day: number,
  hour = '0',
  minute = '0',
  second = '0',
  ms: number,
  zone: string,
): number | null {
  const [h, m, s] = [Number(hour), Number(minute), Number(second)]
  // 24:00 is the end of the day in ISO-8601; a leap second counts as the next second.
  if (h > 24 || (h === 24 && (m > 0 || s > 0)) || m > 59 || s > 60) return null
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return null
  const offset = /^[Zz]$/.test(zone) ? 0 : offsetMinutes(zone)
  if (offset === null) return null
  return date.getTime() + ((h * 60 + m - offset) * 60 + s) * 1000 + ms
}

function offsetMinutes(zone: string): number | null {
  const [, sign, hours, minutes] = /^([+-])(\d{2}):?(\d{2})?$/.exec(zone) ?? []
  if (Number(hours) > 23 || Number(minutes ?? 0) > 59) return null
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes ?? 0))
}

/** ISO-8601 with Z and milliseconds, as everywhere on the wire. */
export function isoText(ms: number): string {
  return new Date(ms).toISOString()
}

export interface ZonedParts {
  year: number
  /** 1 to 12. */
  month: number
  day: number
  /** 0 is Sunday. */
  weekday: number
  hour: number
  minute: number
  second: number
  ms: number
  offsetMinutes: number
}

function fieldsIn(zone: string, instant: number): ZonedFields {
  try {
    return zonedFields(zone, instant)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new LanguageError(`'${zone.slice(0, 60)}' is not a time zone: write an IANA name such as Europe/Berlin.`)
  }
}

/** Calendar fields of an instant in an IANA zone. */
export function zonedParts(instant: number, zone: string): ZonedParts {
  let shifted = instant
  if (zone !== 'UTC') {
    const { year, month, day, hour, minute, second } = fieldsIn(zone, instant)
    const date = new Date(0)
    date.setUTCFullYear(year, month - 1, day)
    date.setUTCHours(hour, minute, second, ((instant % 1000) + 1000) % 1000)
    shifted = date.getTime()
  }
  const local = new Date(shifted)
  return {
    year: local.getUTCFullYear(),
    month: local.getUTCMonth() + 1,
    day: local.getUTCDate(),
    weekday: local.getUTCDay(),
    hour: local.getUTCHours(),
    minute: local.getUTCMinutes(),
    second: local.getUTCSeconds(),
    ms: local.getUTCMilliseconds(),
    offsetMinutes: Math.round((shifted - instant) / 60_000),
  }
}

const pad = (value: number, width: number) => String(value).padStart(width, '0')

function offsetText({ offsetMinutes: minutes }: ZonedParts): string {
  const size = Math.abs(minutes)
  return `${minutes < 0 ? '-' : '+'}${pad(Math.floor(size / 60), 2)}:${pad(size % 60, 2)}`
}

/** Names are English whatever the machine's locale, so the same run reads the same everywhere. */
const patternFields: Record<string, (parts: ZonedParts) => string> = {
  yyyy: (p) => pad(p.year, 4),
  yy: (p) => pad(p.year % 100, 2),
  MMMM: (p) => monthNames[p.month - 1] ?? '',
  MMM: (p) => (monthNames[p.month - 1] ?? '').slice(0, 3),
  MM: (p) => pad(p.month, 2),
  M: (p) => String(p.month),
  dd: (p) => pad(p.day, 2),
  d: (p) => String(p.day),
  EEEE: (p) => dayNames[p.weekday] ?? '',
  EEE: (p) => (dayNames[p.weekday] ?? '').slice(0, 3),
  HH: (p) => pad(p.hour, 2),
  H: (p) => String(p.hour),
  hh: (p) => pad(p.hour % 12 || 12, 2),
  h: (p) => String(p.hour % 12 || 12),
  mm: (p) => pad(p.minute, 2),
  m: (p) => String(p.minute),
  ss: (p) => pad(p.second, 2),
  s: (p) => String(p.second),
  SSS: (p) => pad(p.ms, 3),
  a: (p) => (p.hour < 12 ? 'AM' : 'PM'),
  XXX: (p) => (p.offsetMinutes === 0 ? 'Z' : offsetText(p)),
  xxx: offsetText,
}

/** `yyyy-MM-dd HH:mm`: the fields above, text in single quotes, and any character that is no letter. */
export function formatInstant(instant: number, pattern: string, zone: string): string {
  if (pattern.length > 200) throw new LanguageError('A date pattern may have at most 200 characters.')
  const parts = zonedParts(instant, zone)
  return pattern.replace(/''|'([^']*)'|([A-Za-z])\2*/g, (token, quoted: string | undefined) => {
    if (token === "''") return "'"
    if (quoted !== undefined) return quoted
    const field = Object.hasOwn(patternFields, token) ? patternFields[token] : undefined
    if (!field)
      throw new LanguageError(`'${token}' is not a date field; known: ${Object.keys(patternFields).join(' ')}.`)
    return field(parts)
  })
}
