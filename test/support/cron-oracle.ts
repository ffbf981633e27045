/**
 * What a cron expression means in a zone, told by walking every minute of its wall clock: plain, and sharing nothing with the
 * code that it judges. What the wall shows is asked of Intl, which tells where its offset changes; in between it only counts.
 */
export interface OracleExpression {
  text: string
  minutes: ReadonlySet<number>
  hours: ReadonlySet<number>
  daysOfMonth: ReadonlySet<number> | null
  months: ReadonlySet<number>
  /** 0 is Sunday. */
  weekdays: ReadonlySet<number> | null
  /** Runs by elapsed time: its hour field is a wildcard or names all hours. */
  everyHour: boolean
}

const minuteMs = 60_000
const formats = new Map<string, Intl.DateTimeFormat>()

function formatOf(zone: string): Intl.DateTimeFormat {
  let format = formats.get(zone)
  if (!format) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
    })
    formats.set(zone, format)
  }
  return format
}

/** The wall clock of a zone as minutes since 1970, as if the wall were UTC. */
export function wallMinute(zone: string, instantMs: number): number {
  const match = /^(\d+)\/(\d+)\/(\d+), (\d+):(\d+)$/.exec(formatOf(zone).format(instantMs))
  if (!match) throw new Error(`Intl has another format for ${zone}.`)
  const [month, day, year, hour, minute] = match.slice(1).map(Number) as [number, number, number, number, number]
  return Date.UTC(year, month - 1, day, hour, minute) / minuteMs
}

function matches(expression: OracleExpression, wall: number): boolean {
  const at = new Date(wall * minuteMs)
  const { daysOfMonth, weekdays } = expression
  const day = daysOfMonth?.has(at.getUTCDate()) ?? true
  const weekday = weekdays?.has(at.getUTCDay()) ?? true
  return (
    expression.minutes.has(at.getUTCMinutes()) &&
    expression.hours.has(at.getUTCHours()) &&
    expression.months.has(at.getUTCMonth() + 1) &&
    // Vixie's rule: where both are restricted, either is enough.
    (daysOfMonth && weekdays ? day || weekday : day && weekday)
  )
}

/** The slots after an instant and up to another, both on whole minutes. */
export function oracleSlots(
  expression: OracleExpression,
  zone: string,
  dst: { gap: 'shift' | 'skip'; fold: 'first' | 'both' },
  fromMs: number,
  toMs: number,
): number[] {
  const slots: number[] = []
  // No fold of these decades repeats more than three hours.
  const lead = 12 * 60
  let highest = -Infinity
  let previous = -Infinity
  for (const [at, wall] of everyMinute(zone, fromMs - lead * minuteMs, toMs)) {
    const repeated = wall <= highest
    let fires = matches(expression, wall) && (expression.everyHour || dst.fold === 'both' || !repeated)
    if (!expression.everyHour && dst.gap === 'shift' && wall > previous + 1 && previous > -Infinity) {
      for (let left = previous + 1; left < wall && !fires; left++) fires = matches(expression, left)
    }
    if (fires && at > fromMs) slots.push(at)
    previous = wall
    highest = Math.max(highest, wall)
  }
  return slots
}

/** Instants and their wall clock, both in whole minutes. */
function* everyMinute(zone: string, fromMs: number, toMs: number): Generator<[number, number]> {
  const stretches = oracleStretches(zone)
  let index = stretches.findLastIndex(({ from }) => from <= fromMs)
  for (let at = fromMs; at <= toMs; at += minuteMs) {
    while (stretches[index + 1] && stretches[index + 1]!.from <= at) index++
    yield [at, at / minuteMs + stretches[index]!.offset]
  }
}

/** The years that are judged, and room on both sides of them. */
const [firstYear, lastYear] = [2015, 2037]
/** No zone of these years changes its clocks and back again within so few days. */
const probeMs = 5 * 24 * 60 * minuteMs
const known = new Map<string, { from: number; offset: number }[]>()

/** The stretches of one offset (in minutes) of a zone: found by looking every few days, and halving where it differs. */
export function oracleStretches(zone: string): { from: number; offset: number }[] {
  let stretches = known.get(zone)
  if (stretches) return stretches
  const offset = (at: number) => wallMinute(zone, at) - at / minuteMs
  const start = Date.UTC(firstYear, 0, 1)
  stretches = [{ from: start, offset: offset(start) }]
  for (let low = start; low < Date.UTC(lastYear + 1, 0, 1); low += probeMs) {
    let before = low
    // More than one change may lie between two looks.
    while (offset(low + probeMs) !== stretches.at(-1)!.offset) {
      const from = stretches.at(-1)!.offset
      let after = low + probeMs
      while (after - before > minuteMs) {
        const middle = before + Math.floor((after - before) / 2 / minuteMs) * minuteMs
        if (offset(middle) === from) before = middle
        else after = middle
      }
      stretches.push({ from: after, offset: offset(after) })
      before = after
    }
  }
  known.set(zone, stretches)
  return stretches
}

/** Where a zone's clocks change within a stretch of the years that are judged, to the minute. */
export const oracleChanges = (zone: string, fromMs: number, toMs: number): number[] =>
  oracleStretches(zone)
    .slice(1)
    .map(({ from }) => from)
    .filter((at) => at > fromMs && at <= toMs)
