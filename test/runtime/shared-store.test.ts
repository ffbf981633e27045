import { describe } from 'vitest'
import { createMemoryKv } from '../../src/runtime/memory-kv.ts'
import { createMemoryLimiter } from '../../src/runtime/memory-limiter.ts'
import { describeKv } from './kv.suite.ts'
import { describeLimiter } from './limiter.suite.ts'

function movingClock() {
  let nowMs = 0
  return { monotonicMs: () => nowMs, pass: (seconds: number) => void (nowMs += seconds * 1000) }
}

describe('port:kv adapter:process', () =>
  describeKv(() => {
    const clock = movingClock()
    const one = createMemoryKv(clock)
    return { one, other: one, pass: clock.pass }
  }))

describe('port:limiter adapter:process', () =>
  describeLimiter(() => {
    const clock = movingClock()
    const one = createMemoryLimiter(clock)
    return { one, other: one, pass: clock.pass }
  }))
