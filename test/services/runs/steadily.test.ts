import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { RunLost, type RunWriter } from '../../../src/services/runs/run-writer.ts'
import { steadily } from '../../../src/services/runs/steadily.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const clock = { now: () => new Date(), monotonicMs: () => Date.now() }
const heldSince = (confirmedMs: number) => {
  const writer = { lost: false, confirmedMs, markLost: () => (writer.lost = true) }
  return writer as unknown as RunWriter
}
const broken = () => Promise.reject(Object.assign(new Error('closed'), { code: 'CONNECTION_CLOSED' }))

test('a statement whose line breaks is sent again', async () => {
  let sent = 0
  const asked = steadily(heldSince(Date.now()), clock, () => (sent++ < 2 ? broken() : Promise.resolve('answer')))
  await vi.advanceTimersByTimeAsync(1_000)
  expect(await asked).toBe('answer')
})

test('a statement that is never answered is sent again on another line', async () => {
  let sent = 0
  const asked = steadily(heldSince(Date.now()), clock, () =>
    sent++ === 0 ? new Promise<string>(() => {}) : Promise.resolve('answer'),
  )
  await vi.advanceTimersByTimeAsync(16_000)
  expect(await asked).toBe('answer')
  expect(vi.getTimerCount()).toBe(0)
})

test('what the database refuses is thrown at once', async () => {
  const refused = Object.assign(new Error('check'), { code: '23514' })
  await expect(steadily(heldSince(Date.now()), clock, () => Promise.reject(refused))).rejects.toBe(refused)
})

test('a run whose lease could not be confirmed for too long is given up', async () => {
  const writer = heldSince(Date.now())
  const asked = expect(steadily(writer, clock, broken)).rejects.toThrow(RunLost)
  await vi.advanceTimersByTimeAsync(30_000)
  await asked
  expect(writer.lost).toBe(true)
})
