import { expect, test } from 'vitest'
import { fateOf } from '../../../src/services/outbox/backoff.ts'

const outbox = { delaysMs: [10_000, 60_000] }
const lots = (lot: number) => ({ random: () => Uint8Array.of(lot) })
const message = (attempts: number, tries?: number) => ({ workspace_id: 'w', attempts, tries })
const hours = 3_600_000

test('what was taken is done with', () => {
  expect(fateOf(outbox, message(1), null, lots(0))).toEqual({ state: 'taken' })
})

test('a message comes again after its delay or up to a fifth later, and is given up behind the last', () => {
  const after = (attempts: number, lot: number) => fateOf(outbox, message(attempts), {}, lots(lot))
  expect([after(1, 0), after(1, 255)]).toEqual([10_000, 12_000].map((inMs) => ({ state: 'pending', inMs })))
  expect([after(2, 0), after(2, 255)]).toEqual([60_000, 72_000].map((inMs) => ({ state: 'pending', inMs })))
  expect(after(3, 0)).toEqual({ state: 'failed' })
})

test('a refusal for good ends it at once', () => {
  expect(fateOf(outbox, message(1), { isFinal: true, retryAfterMs: 1 }, lots(0))).toEqual({ state: 'failed' })
})

test('whoever asks for more time has it, to the last millisecond; nobody has more than a day', () => {
  const asking = (retryAfterMs: number) => fateOf(outbox, message(1), { retryAfterMs }, lots(0))
  expect(asking(1)).toEqual({ state: 'pending', inMs: 10_000 })
  expect(asking(hours)).toEqual({ state: 'pending', inMs: hours })
  expect(asking(1_000 * hours)).toEqual({ state: 'pending', inMs: 24 * hours })
})

test('what was asked for once more has all of its tries again', () => {
  const again = fateOf({ ...outbox, tries: 'tries' }, message(7, 1), {}, lots(0))
  expect(again).toEqual({ state: 'pending', inMs: 10_000 })
})
