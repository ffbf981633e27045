import { expect, test } from 'vitest'
import { createGuard, StoreReplyError, type Ask } from '../../src/runtime/guard.ts'
import { createTestLog } from '../support/log.ts'

function guarded() {
  let nowMs = 0
  const log = createTestLog()
  const guard = createGuard({ clock: { monotonicMs: () => nowMs }, log }, { name: 'The store', timeoutMs: 20 })
  let calls = 0
  const through = (ask: Ask) => (answer: () => Promise<unknown>) =>
    ask(() => {
      calls++
      return answer()
    })
  return {
    call: through(guard),
    insist: through(guard.insist),
    calls: () => calls,
    pass: (ms: number) => void (nowMs += ms),
    log,
  }
}
const refused = () => Promise.reject(new Error('connection refused'))
const silent = () => new Promise<never>(() => {})
const answer = async () => 'answer'

test('what a store answers is passed on, errors of its own too', async () => {
  const { call } = guarded()
  expect(await call(answer)).toBe('answer')
  const wrong = new StoreReplyError('WRONGTYPE')
  for (let i = 0; i < 5; i++) await expect(call(() => Promise.reject(wrong))).rejects.toBe(wrong)
  expect(await call(answer)).toBe('answer')
})

test('a call that is never answered ends as unavailable', async () => {
  const { call } = guarded()
  await expect(call(silent)).rejects.toMatchObject({
    kind: 'unavailable',
    headers: { 'retry-after': '2' },
    cause: { message: 'No answer within 20 ms.' },
  })
})

test('after three failures in a row nobody waits, and one call a second looks again', async () => {
  const { call, calls, pass } = guarded()
  for (let i = 0; i < 3; i++) await expect(call(refused)).rejects.toThrow('The store does not answer')
  for (let i = 0; i < 10; i++) await expect(call(answer)).rejects.toMatchObject({ kind: 'unavailable' })
  expect(calls()).toBe(3)
  pass(1_000)
  const looks = await Promise.allSettled(Array.from({ length: 10 }, () => call(refused)))
  expect(looks.map((look) => look.status)).toEqual(Array.from({ length: 10 }, () => 'rejected'))
  expect(calls()).toBe(4)
  pass(1_000)
  expect(await call(answer)).toBe('answer')
  expect(await Promise.all([call(answer), call(answer)])).toEqual(['answer', 'answer'])
})

test('who insists is heard while nobody else waits, and closes the breaker when there is an answer', async () => {
  const { call, insist, calls } = guarded()
  for (let i = 0; i < 3; i++) await call(refused).catch(() => {})
  await expect(insist(refused)).rejects.toMatchObject({ kind: 'unavailable' })
  await expect(call(answer)).rejects.toMatchObject({ kind: 'unavailable' })
  expect(calls()).toBe(4)
  expect(await insist(answer)).toBe('answer')
  expect(await call(answer)).toBe('answer')
})

test('failures that do not follow each other open nothing', async () => {
  const { call, calls } = guarded()
  for (let i = 0; i < 6; i++) {
    await call(refused).catch(() => {})
    await call(refused).catch(() => {})
    await call(answer)
  }
  expect(calls()).toBe(18)
})

test('an outage is one line in the log, and so is its end', async () => {
  const { call, pass, log } = guarded()
  for (let i = 0; i < 20; i++) {
    await call(refused).catch(() => {})
    pass(400)
  }
  pass(1_000)
  await call(answer)
  await call(answer)
  expect(log.lines.map(({ level, message }) => [level, message])).toEqual([
    ['error', 'The store does not answer'],
    ['info', 'The store answers again'],
  ])
})
