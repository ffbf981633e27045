import type { BudgetPeriod } from '../../db/tables/budgets.table.ts'
import { nextSlot } from '../../lib/slots/slots.ts'
import type { SlotSpec } from '../../lib/slots/spec.ts'

export interface Window {
  start: Date
  /** Null: it never turns. */
  end: Date | null
}

/** When windows begin: at midnight, on Mondays, on the first. Longer ago than `days` the one before has begun for sure. */
const beginnings = {
  day: { cron: '0 0 * * *', days: 3 },
  week: { cron: '0 0 * * 1', days: 9 },
  month: { cron: '0 0 1 * *', days: 33 },
}

/**
 * The window that an instant lies in, by the calendar of a zone. Where a clock change removes midnight the day begins right
 * behind the gap, where it repeats midnight with the first of the two.
 */
export function windowAt(period: BudgetPeriod, zone: string, instant: Date): Window {
  if (period === 'total') return { start: instant, end: null }
  const { cron, days } = beginnings[period]
  const spec: SlotSpec = { cron, zone, dst: { gap: 'shift', fold: 'first' } }
  let start = nextOf(spec, new Date(instant.getTime() - days * 86_400_000))
  for (;;) {
    const end = nextOf(spec, start)
    if (end > instant) return { start, end }
    start = end
  }
}

function nextOf(spec: SlotSpec, after: Date): Date {
  const next = nextSlot(spec, after)
  if (!next) throw new RangeError('The calendar has no such day.')
  return next
}
