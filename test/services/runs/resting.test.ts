import { expect, test } from 'vitest'
import { Resting } from '../../../src/services/runs/resting.ts'

const clock = { now: () => new Date(), monotonicMs: () => performance.now() }
const never = new AbortController().signal
const hour = 3_600_000

test('a nudge between a look and the rest behind it ends the rest at once: the run does not park', async () => {
  const resting = new Resting(clock)
  const seen = resting.nudges
  resting.nudge()
  expect(await resting.restUntilNudged('a', Infinity, null, never, seen)).toBe('rested')
  expect(resting.wakes).toEqual([])
})

test('a nudge wakes those who wait for others, and leaves those who wait for their time', async () => {
  const resting = new Resting(clock)
  const ends: string[] = []
  await resting.sideBySide([
    async () => void ends.push(`time ${await resting.rest('a', hour, null, never)}`),
    async () => {
      ends.push(`other ${await resting.restUntilNudged('b', Infinity, null, never, resting.nudges)}`)
      expect(resting.wakes).toEqual([])
    },
    async () => {
      // While this branch is at work nobody parks.
      await Promise.resolve()
      resting.nudge()
    },
  ])
  expect(ends).toEqual(['other rested', 'time parked'])
})

test('what a call of the run gives back wakes those who wait for a budget, and nobody else', async () => {
  const resting = new Resting(clock)
  const ends: string[] = []
  const seen = resting.budgetNudges
  await resting.sideBySide([
    async () => void ends.push(`other ${await resting.restUntilNudged('a', Infinity, null, never, resting.nudges)}`),
    async () => void ends.push(`budget ${await resting.restUntilNudged('b', hour, null, never, seen, 'budget')}`),
    async () => {
      await Promise.resolve()
      resting.nudgeBudgets()
    },
  ])
  expect(ends).toEqual(['budget rested', 'other parked'])
  // Between a look and the rest behind it, too.
  expect(await resting.restUntilNudged('b', hour, null, never, seen, 'budget')).toBe('rested')
})

test('who waits without a time parks with none', async () => {
  const resting = new Resting(clock)
  expect(await resting.restUntilNudged('a', Infinity, null, never, 0)).toBe('parked')
  expect(resting.wakes).toEqual([{ path: 'a', delay_ms: null, wake_at: null }])
})

test('who waits for others ends with its signal', async () => {
  const resting = new Resting(clock)
  const stop = new AbortController()
  const [rest] = await Promise.allSettled([
    resting.sideBySide([
      async () => void (await resting.restUntilNudged('a', Infinity, null, stop.signal, 0)),
      async () => {
        await Promise.resolve()
        stop.abort(new Error('enough'))
      },
    ]),
  ])
  expect(rest).toMatchObject({ status: 'rejected', reason: { message: 'enough' } })
})
