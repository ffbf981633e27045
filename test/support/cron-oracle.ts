/**
 * What a cron expression means in a zone, told by walking every minute and reading the wall clock from Intl: slow, plain, and
 * sharing nothing with the code that it judges.
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

/** Instants and their wall clock. Intl is asked for each minute of a quarter of an hour in which the clocks change, else for one. */
function* everyMinute(zone: string, fromMs: number, toMs: number): Generator<[number, number]> {
  let wall = wallMinute(zone, fromMs)
  for (let at = fromMs; at <= toMs; at += 15 * minuteMs) {
    const next = wallMinute(zone, at + 15 * minuteMs)
    for (let minute = 0; minute < 15 && at + minute * minuteMs <= toMs; minute++) {
      const instant = at + minute * minuteMs
      yield [instant, next - wall === 15 ? wall + minute : wallMinute(zone, instant)]
    }
    wall = next
  }
}

/** Where a zone's clocks change within a stretch, to the minute. */
export function oracleChanges(zone: string, fromMs: number, toMs: number): number[] {
  const offset = (at: number) => wallMinute(zone, at) - at / minuteMs
  const changes: number[] = []
  const stepMs = 24 * 60 * minuteMs
  let last = offset(fromMs)
  for (let low = fromMs; low < toMs; low += stepMs) {
    const known = last
    last = offset(low + stepMs)
    if (known === last) continue
    let [before, after] = [low, low + stepMs]
    while (after - before > minuteMs) {
      const middle = before + Math.floor((after - before) / 2 / minuteMs) * minuteMs
      if (offset(middle) === known) before = middle
      else after = middle
    }
    changes.push(after)
  }
  return changes
}
