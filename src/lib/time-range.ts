import { z } from '@hono/zod-openapi'

/** An ISO 8601 time has four digits for the year; of later ones the database wants another notation. */
export const latestInstant = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

// The database knows no year 0, and nothing was due before computers told the time. Of what is no time the format tells.
const isModern = (text: string) => !(Date.parse(text) < 0)
const isStorable = (text: string) => !(Date.parse(text) > latestInstant)

/** A time that a caller gives. */
export const instant = () =>
  z.iso
    .datetime({ offset: true })
    .refine(isModern, 'must not be before 1970')
    .refine(isStorable, 'must not be after 9999')
