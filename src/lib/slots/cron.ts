import { Cron as Croner, CronPattern } from 'croner'
import { LruCache } from '../lru-cache.ts'
import { isZone } from './zone.ts'

/** A parsed expression. It knows wall-clock times only (milliseconds as if the wall were UTC); slots.ts places them in a zone. */
export interface Cron {
  /** Five or six fields, single spaces. */
  text: string
  zone: string
  /**
   * True for an expression of every hour: it runs by elapsed time through a clock change, as in Vixie cron, and the
   * DST policy, which is for fixed times of day, does not apply.
   */
  elapsed: boolean
  /** The first matching wall-clock time after this one; null if there is none in the reach of the library. */
  nextWall(wallMs: number): number | null
  /** The values of the time fields, ascending. */
  hours: number[]
  minutes: number[]
  seconds: number[]
}

export interface CronFault {
  field: 'cron' | 'timezone'
  detail: string
}
export type ParsedCron = { cron: Cron; fault?: undefined } | { cron?: undefined; fault: CronFault }

const nicknames: Record<string, string> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
}
const parsed = new LruCache<ParsedCron>(5000)

/** Reads five fields (minute first) or six (second first). Answers a fault instead of throwing. */
export function parseCron(text: string, zone: string): ParsedCron {
  if (text.length > 200) return { fault: { field: 'cron', detail: 'must have at most 200 characters' } }
  return parsed.getOrMake(`${text}|${zone}`, () => parse(text, zone))
}

function parse(text: string, zone: string): ParsedCron {
  const written = text.trim().replaceAll(/\s+/g, ' ')
  const plain = nicknames[written.toLowerCase()] ?? written
  const fields = plain.split(' ')
  // Croner also takes dates and seven fields with a year: a schedule has neither.
  if (fields.length !== 5 && fields.length !== 6)
    return fault(`must have 5 fields (minute hour day month weekday) or 6 (with seconds first), not ${fields.length}`)
  try {
    const cron = wallClock(plain, fields, zone)
    if (cron.nextWall(Date.UTC(2000, 0, 1)) === null) return fault('never matches: there is no such date')
    if (!isZone(zone))
      return { fault: { field: 'timezone', detail: 'must be an IANA time zone, such as Europe/Berlin' } }
    return { cron }
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^CronPattern: /, '') : String(error)
    return fault(`is not a cron expression: ${reason}`)
  }
}

const fault = (detail: string): ParsedCron => ({ fault: { field: 'cron', detail } })

function wallClock(text: string, fields: string[], zone: string): Cron {
  const pattern = new CronPattern(text, undefined, { mode: '5-or-6-parts' })
  const hours = setValues(pattern.hour)
  // A fixed offset of 0 makes croner walk plain calendar fields: zones and clock changes are decided in slots.ts.
  const walk = new Croner(text, { utcOffset: 0, mode: '5-or-6-parts' })
  const hourField = fields.at(-4) ?? ''
  return {
    text,
    zone,
    elapsed: /^[*?]/.test(hourField) || hours.length === 24,
    nextWall: (wallMs) => walk.nextRun(wholeSecond(wallMs))?.getTime() ?? null,
    hours,
    minutes: setValues(pattern.minute),
    seconds: setValues(pattern.second),
  }
}

const wholeSecond = (ms: number) => new Date(Math.floor(ms / 1000) * 1000)
const setValues = (flags: number[]) => flags.flatMap((flag, value) => (flag ? [value] : []))
