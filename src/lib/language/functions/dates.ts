import { parseDuration } from '../../duration.ts'
import { formatInstant, type ZonedParts, zonedParts } from '../instant.ts'
import { LanguageError } from '../scope.ts'
import { Duration, Timestamp, type Value } from '../values.ts'
import { type FunctionTable, instantArg, isDuration, takes, textArg } from './declare.ts'

/** Calendars cost more than other functions, and are counted so. */
const calendarSteps = 120

/** A field of an instant, in UTC unless a zone is given. */
function field(name: string, read: (parts: ZonedParts) => number) {
  return takes(1, 2, ([value, zone], budget) => {
    budget.use(calendarSteps)
    return read(zonedParts(instantArg(name, value), zone === undefined ? 'UTC' : textArg(name, zone)))
  })
}

/** A field of an instant, or the whole of a duration in that unit. */
function fieldOrTotal(name: string, unitMs: number, read: (parts: ZonedParts) => number) {
  const ofInstant = field(name, read)
  return takes(1, 2, (args, budget) =>
    isDuration(args[0]) ? Math.trunc(args[0].ms / unitMs) : ofInstant.call(args, budget),
  )
}

function dayOfYear({ year, month, day }: ZonedParts): number {
  return Math.round((Date.UTC(year, month - 1, day) - Date.UTC(year, 0, 1)) / 86_400_000)
}

function toDuration(value: Value | undefined): Duration {
  if (isDuration(value)) return value
  const text = textArg('duration', value)
  const ms = parseDuration(text.replace(/^-/, ''))
  if (ms === null) throw new LanguageError(`'${text.slice(0, 40)}' is not a duration: write 90s, 1h30m, 2d or PT20S.`)
  return new Duration(text.startsWith('-') ? -ms : ms)
}

export const dateFunctions: FunctionTable = {
  timestamp: takes(1, 1, ([value], budget) => {
    budget.use(10)
    if (typeof value === 'number') return new Timestamp(Math.round(value * 1000))
    if (typeof value !== 'string') return new Timestamp(instantArg('timestamp', value))
    try {
      return new Timestamp(instantArg('timestamp', value))
    } catch {
      throw new LanguageError(`'${value.slice(0, 40)}' is not an ISO-8601 date or time with a zone.`)
    }
  }),
  duration: takes(1, 1, ([value]) => toDuration(value)),
  format_date: takes(2, 3, ([value, pattern, zone], budget) => {
    budget.use(calendarSteps)
    const where = zone === undefined ? 'UTC' : textArg('format_date', zone)
    return formatInstant(instantArg('format_date', value), textArg('format_date', pattern), where)
  }),
  getFullYear: field('getFullYear', (parts) => parts.year),
  getMonth: field('getMonth', (parts) => parts.month - 1),
  getDate: field('getDate', (parts) => parts.day),
  getDayOfMonth: field('getDayOfMonth', (parts) => parts.day - 1),
  getDayOfWeek: field('getDayOfWeek', (parts) => parts.weekday),
  getDayOfYear: field('getDayOfYear', dayOfYear),
  getHours: fieldOrTotal('getHours', 3_600_000, (parts) => parts.hour),
  getMinutes: fieldOrTotal('getMinutes', 60_000, (parts) => parts.minute),
  getSeconds: fieldOrTotal('getSeconds', 1000, (parts) => parts.second),
  getMilliseconds: fieldOrTotal('getMilliseconds', 1, (parts) => parts.ms),
}
