import { offsetAt } from './zone.ts'

/** A calendar month of a zone, or what is left of it. */
export interface Month {
  /** `2026-12` */
  name: string
  from: Date
  /** Exclusive. */
  to: Date
}

/** The month that an instant lies in, from that instant on, and the whole months after it. */
export function monthsFrom(zone: string, instant: Date, count: number): Month[] {
  const wall = new Date(instant.getTime() + offsetAt(zone, instant.getTime()))
  const [year, month] = [wall.getUTCFullYear(), wall.getUTCMonth()]
  return Array.from({ length: count }, (_, index) => ({
    name: new Date(Date.UTC(year, month + index, 1)).toISOString().slice(0, 7),
    from: index === 0 ? instant : startOfMonth(zone, year, month + index),
    to: startOfMonth(zone, year, month + index + 1),
  }))
}

function startOfMonth(zone: string, year: number, month: number): Date {
  const wall = Date.UTC(year, month, 1)
  // The offset at midnight itself: a first guess may lie on the other side of a clock change.
  const guess = wall - offsetAt(zone, wall)
  return new Date(wall - offsetAt(zone, guess))
}
