import fc from 'fast-check'
import { expect, test } from 'vitest'
import { jitterMs } from '../../../src/lib/slots/jitter.ts'

test('jitter is between nothing and its bound, and always the same', () => {
  fc.assert(
    fc.property(fc.uuid(), fc.integer({ min: 0, max: 4e12 }), fc.integer({ min: 0, max: 86_400 }), (id, at, max) => {
      const value = jitterMs(id, new Date(at), max)
      expect(value).toBeGreaterThanOrEqual(0)
      expect(value).toBeLessThanOrEqual(max * 1000)
      expect(jitterMs(id, new Date(at), max)).toBe(value)
    }),
  )
})

test('the schedules of one slot, and the slots of one schedule, spread over the whole range', () => {
  const slot = Date.parse('2031-01-06T09:00:00Z')
  const bySchedule = Array.from({ length: 4000 }, (_, i) => jitterMs(`schedule ${i}`, new Date(slot), 600))
  const bySlot = Array.from({ length: 4000 }, (_, i) => jitterMs('schedule', new Date(slot + i * 86_400_000), 600))
  for (const values of [bySchedule, bySlot]) {
    const tenths = Array.from({ length: 10 }, (_, i) => values.filter((v) => Math.floor(v / 60_000.1) === i).length)
    for (const share of tenths) expect(share).toBeGreaterThan(300)
  }
})
