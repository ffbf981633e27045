import { LruCache } from './lru-cache.ts'

/** What calendar and clock of a zone show. */
export interface ZonedFields {
  year: number
  /** 1 to 12. */
  month: number
  day: number
  hour: number
  minute: number
  second: number
}

// More than there are zones, since a formatter is dear to make.
const formatters = new LruCache<Intl.DateTimeFormat>(700)

/** Throws RangeError for a zone that this platform does not know. */
export function zonedFields(zone: string, instantMs: number): ZonedFields {
  const fields: ZonedFields = { year: 0, month: 1, day: 1, hour: 0, minute: 0, second: 0 }
  for (const { type, value } of formatterOf(zone).formatToParts(instantMs)) {
    if (Object.hasOwn(fields, type)) fields[type as keyof ZonedFields] = Number(value)
  }
  return fields
}

function formatterOf(zone: string): Intl.DateTimeFormat {
  return formatters.getOrMake(
    zone,
    () =>
      new Intl.DateTimeFormat('en-US', {
        timeZone: zone,
        calendar: 'iso8601',
        numberingSystem: 'latn',
        hourCycle: 'h23',
        year: 'numeric',
        month: 'numeric',
        day: 'numeric',
        hour: 'numeric',
        minute: 'numeric',
        second: 'numeric',
      }),
  )
}
