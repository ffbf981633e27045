import { expect, test } from 'vitest'
import type { Limiter } from '../../src/context.ts'
import { createMemoryLimiter } from '../../src/runtime/memory-limiter.ts'

/** A limiter without a past, seen by two who share its budgets. */
export interface OpenLimiter {
  one: Limiter
  /** The same budgets, through another client. */
  other: Limiter
  /** Time goes on for the windows of this limiter. */
  pass(seconds: number): void | Promise<void>
}

/**
 * The contract of every limiter. Where a real clock runs besides `pass`, a test may last some seconds without changing
 * what it sees.
 */
export function describeLimiter(open: () => OpenLimiter | Promise<OpenLimiter>) {
  test('a thousand takes at once, of two clients, let exactly the limit through', async () => {
    const { one, other } = await open()
    const decisions = await Promise.all(
      Array.from({ length: 1000 }, async (_, i) => (i % 2 ? one : other).take('k', 100, 3600)),
    )
    const allowed = decisions.filter((decision) => decision.allowed)
    expect(allowed).toHaveLength(100)
    // Each of them was told its own place.
    expect(new Set(allowed.map((decision) => decision.remaining)).size).toBe(100)
    expect(await one.take('k', 100, 3600)).toMatchObject({ allowed: false, limit: 100, remaining: 0 })
  })

  test('a thousand weighted takes at once, of two clients, let no more than the limit through', async () => {
    const { one, other } = await open()
    const weights = [1, 3, 7, 10]
    const taken = await Promise.all(
      Array.from({ length: 1000 }, async (_, i) => {
        const weight = weights[i % weights.length]!
        return ((await (i % 2 ? one : other).take('k', 200, 3600, weight)) as { allowed: boolean }).allowed ? weight : 0
      }),
    )
    const sum = taken.reduce((total, weight) => total + weight, 0)
    // What is lighter goes on where what is heavier finds no room.
    expect(sum).toBe(200)
    expect(await one.peek('k', 200, 3600)).toMatchObject({ allowed: false, remaining: 0 })
  })

  test('what weighs more than is left is refused whole, and told when it fits', async () => {
    const { one, pass } = await open()
    expect(await one.take('k', 10, 100, 4)).toMatchObject({ allowed: true, remaining: 6 })
    const refused = await one.take('k', 10, 100, 7)
    expect(refused).toMatchObject({ allowed: false, remaining: 6 })
    expect(await one.take('k', 10, 100, 6)).toMatchObject({ allowed: true, remaining: 0 })
    await pass(100 + 71)
    expect(await one.take('k', 10, 100, 8), 'three of the ten still count').toMatchObject({ allowed: false })
    expect(await one.take('k', 10, 100, 7)).toMatchObject({ allowed: true, remaining: 0 })
  })

  test('what weighs more than the limit asks for all of it', async () => {
    const { one } = await open()
    expect(await one.take('k', 3, 60, 5)).toMatchObject({ allowed: true, remaining: 0 })
    expect(await one.take('k', 3, 60, 5)).toMatchObject({ allowed: false })
    expect(await one.take('other', 3, 60)).toMatchObject({ allowed: true, remaining: 2 })
    expect(await one.take('other', 3, 60, 5)).toMatchObject({ allowed: false, remaining: 2 })
  })

  test('it tells what is left and when the window turns', async () => {
    const { one, other, pass } = await open()
    expect(await one.take('k', 3, 3600)).toEqual({ allowed: true, limit: 3, remaining: 2, resetSeconds: 3600 })
    await pass(1800)
    const second = await other.take('k', 3, 3600)
    expect(second).toMatchObject({ allowed: true, limit: 3, remaining: 1 })
    expect(second.resetSeconds).toBeGreaterThan(1790)
    expect(second.resetSeconds).toBeLessThanOrEqual(1800)
  })

  test('a refused request costs nothing', async () => {
    const { one, pass } = await open()
    for (let i = 0; i < 20; i++) await one.take('k', 5, 60)
    // Two windows later nothing of the five is left, and the fifteen were never counted.
    await pass(125)
    for (let i = 0; i < 5; i++) expect(await one.take('k', 5, 60)).toMatchObject({ allowed: true })
  })

  test('the window slides: no second full load right after the turn', async () => {
    const { one, pass } = await open()
    await one.take('k', 10, 600)
    await pass(590)
    for (let i = 0; i < 9; i++) await one.take('k', 10, 600)
    await pass(20)
    expect((await one.take('k', 10, 600)).allowed).toBe(false)
    // A tenth and a little of the window is gone, and with it one of the ten.
    await pass(60)
    expect((await one.take('k', 10, 600)).allowed).toBe(true)
    expect((await one.take('k', 10, 600)).allowed).toBe(false)
  })

  test.each([0, 3, 7, 11])('after as long as it says, one request fits again: one each %i s', async (gap) => {
    const { one, pass } = await open()
    const take = () => one.take('k', 3, 40)
    let decision = await take()
    for (let i = 0; decision.allowed && i < 100; i++) {
      await pass(gap)
      decision = await take()
    }
    expect(decision.allowed).toBe(false)
    await pass(decision.resetSeconds)
    expect(await take()).toMatchObject({ allowed: true })
  })

  test('keys do not share', async () => {
    const { one } = await open()
    expect((await one.take('a', 1, 60)).allowed).toBe(true)
    expect((await one.take('a', 1, 60)).allowed).toBe(false)
    expect((await one.take('b', 1, 60)).allowed).toBe(true)
  })

  test('a look counts nothing, also where nothing was taken yet', async () => {
    const { one, other } = await open()
    for (let i = 0; i < 5; i++) expect(await one.peek('k', 3, 60)).toMatchObject({ allowed: true, remaining: 3 })
    expect((await one.take('k', 3, 60)).remaining).toBe(2)
    expect(await other.peek('k', 3, 60)).toMatchObject({ allowed: true, remaining: 2 })
  })

  test('it decides as the limiter of a process does', async () => {
    const { one, pass } = await open()
    let modelMs = 0
    const model = createMemoryLimiter({ monotonicMs: () => modelMs })
    const next = randomNumbers(7)
    const wait = async (seconds: number) => {
      modelMs += seconds * 1000
      await pass(seconds)
    }
    const ask = async (looking: boolean) => {
      const [asked, expected] = looking
        ? [await one.peek('k', 7, 36_000), await model.peek('k', 7, 36_000)]
        : [await one.take('k', 7, 36_000), await model.take('k', 7, 36_000)]
      expect(asked).toEqual({ ...expected, resetSeconds: expect.any(Number) as number })
      expect(Math.abs(asked.resetSeconds - expected.resetSeconds)).toBeLessThan(40)
    }
    // Five minutes beside the tens, and a limit below eight: then no decision lies nearer than forty seconds to a boundary,
    // and the test may take that long.
    await ask(false)
    await wait(300)
    for (let i = 0; i < 60; i++) {
      await ask(i % 5 === 0)
      if (next() < 0.6) await wait(600 * Math.floor(next() * (next() < 0.1 ? 150 : 25)))
    }
  })
}

/** The same ones each time. */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
