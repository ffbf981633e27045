import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { LimitDecision } from '../../src/context.ts'
import { createMemoryLimiter } from '../../src/runtime/memory-limiter.ts'

function limiterAt(maxKeys?: number) {
  let nowMs = 1_000
  const limiter = createMemoryLimiter({ monotonicMs: () => nowMs }, maxKeys)
  return {
    take: (key = 'k', limit = 10, seconds = 60) => limiter.take(key, limit, seconds) as LimitDecision,
    peek: (key = 'k', limit = 10, seconds = 60) => limiter.peek(key, limit, seconds) as LimitDecision,
    pass: (ms: number) => void (nowMs += ms),
  }
}

test('a thousand takes at once let exactly the limit through', async () => {
  const { take } = limiterAt()
  const decisions = await Promise.all(Array.from({ length: 1000 }, async () => take('k', 100)))
  expect(decisions.filter((decision) => decision.allowed)).toHaveLength(100)
  expect(decisions.at(-1)).toMatchObject({ allowed: false, limit: 100, remaining: 0 })
})

test('it answers without a promise', () => {
  expect(createMemoryLimiter({ monotonicMs: () => 0 }).take('k', 1, 1)).not.toBeInstanceOf(Promise)
})

test('the window slides: no second full load right after the turn', () => {
  const { take, pass } = limiterAt()
  pass(59_000)
  for (let i = 0; i < 10; i++) take()
  pass(60_000)
  expect(take().allowed).toBe(false)
  pass(6_000)
  expect(take().allowed).toBe(true)
  expect(take().allowed).toBe(false)
})

test('after as long as it says, one request fits again', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 20_000 }), { maxLength: 60 }),
      fc.integer({ min: 1, max: 8 }),
      (gaps, limit) => {
        const { take, pass } = limiterAt()
        for (const gap of gaps) {
          pass(gap)
          const decision = take('k', limit, 30)
          if (decision.allowed) continue
          pass(decision.resetSeconds * 1000)
          expect(take('k', limit, 30).allowed).toBe(true)
        }
      },
    ),
  )
})

test('no span of one window ever sees more than twice the limit, and a steady flood about the limit', () => {
  const { take, pass } = limiterAt()
  let allowed = 0
  for (let ms = 0; ms < 600_000; ms += 100) {
    if (take('k', 60, 60).allowed) allowed++
    pass(100)
  }
  expect(allowed).toBeGreaterThanOrEqual(600 - 60)
  expect(allowed).toBeLessThanOrEqual(600 + 60)
})

test('keys do not share', () => {
  const { take } = limiterAt()
  expect(take('a', 1).allowed).toBe(true)
  expect(take('a', 1).allowed).toBe(false)
  expect(take('b', 1).allowed).toBe(true)
})

test('peek counts nothing', () => {
  const { take, peek } = limiterAt()
  for (let i = 0; i < 5; i++) expect(peek()).toMatchObject({ allowed: true, remaining: 10 })
  expect(take().remaining).toBe(9)
})

test('memory is bounded: the oldest key goes first', () => {
  const { take } = limiterAt(3)
  take('old', 1)
  for (const key of ['a', 'b', 'c']) take(key, 1)
  expect(take('c', 1).allowed).toBe(false)
  expect(take('old', 1).allowed).toBe(true)
})
