import { expect, test } from 'vitest'
import { createLimiterState } from '../../../src/services/metrics/limiter-state.ts'
import { createTestLog } from '../../support/log.ts'

function failing() {
  let nowMs = 1_000_000
  const log = createTestLog()
  const state = createLimiterState()
  const clock = { now: () => new Date(nowMs), monotonicMs: () => nowMs }
  return {
    log,
    fail: () => state.failed({ clock, log }, new Error('away')),
    health: (measured?: Parameters<typeof state.health>[1]) => state.health(nowMs, measured),
    pass: (seconds: number) => void (nowMs += seconds * 1000),
  }
}

test('what is measured is told as it is while nothing has failed', () => {
  const { health } = failing()
  expect(health()).toEqual({ status: 'healthy' })
  const measured = { status: 'degraded', detail: 'Redis', latency_ms: 3 } as const
  expect(health(measured)).toEqual(measured)
})

test('requests that failed show although the store answers again, and degrade only for seconds', () => {
  const { fail, health, pass } = failing()
  for (let i = 0; i < 3; i++) fail()
  const measured = { status: 'healthy', detail: 'Redis', latency_ms: 1 } as const
  const trace = (seconds: number) =>
    `Redis. The limiter failed: requests that passed unlimited: 3, the last ${seconds} s ago.`
  expect(health(measured)).toEqual({ status: 'degraded', detail: trace(0), latency_ms: 1 })
  pass(11)
  expect(health(measured)).toEqual({ status: 'healthy', detail: trace(11), latency_ms: 1 })
  pass(50)
  expect(health(measured)).toEqual(measured)
})

test('an outage is one line in the log; the next one is counted from the start', () => {
  const { fail, health, pass, log } = failing()
  for (let i = 0; i < 100; i++) {
    fail()
    pass(1)
  }
  expect(log.lines).toHaveLength(1)
  pass(61)
  fail()
  expect(log.lines).toHaveLength(2)
  expect(health().detail).toMatch(/unlimited: 1,/)
})
