import { beforeEach, describe, expect, test } from 'vitest'
import { RunLost, RunWriter, type StepDraft } from '../../../src/services/runs/run-writer.ts'

let nowMs = 0
let flushes = 0
function writer() {
  return new RunWriter(
    { id: 'run', fence: 1, rev: 0, pending_commands: 0 },
    {
      clock: { now: () => new Date(nowMs), monotonicMs: () => nowMs },
      sentMs: nowMs,
      requestFlush: () => void flushes++,
      requestLazyFlush: () => {},
      onLost: () => {},
      onRefused: () => {},
      onCommands: () => {},
      onEvents: () => {},
    },
  )
}
beforeEach(() => {
  nowMs = 0
  flushes = 0
})

const step = (path: string): StepDraft => ({
  path,
  parent: '',
  ordinal: 0,
  step_id: path,
  kind: 'http',
  status: 'succeeded',
  attempts: 1,
  output: null,
  error: null,
  state: null,
  delay_ms: null,
  wake_at: null,
  startedMs: 0,
  finishedMs: 0,
})
const running = { state: 'running' as const, pendingCommands: 0 }

/** Whether a promise is settled by now, whatever else is under way. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  return Promise.race([
    promise.then(
      () => true,
      () => true,
    ),
    new Promise<false>((resolve) => setImmediate(() => resolve(false))),
  ])
}

describe('before an effect', () => {
  test('a result waits for its commit, also where that is on its way already', async () => {
    const pen = writer()
    expect(await isSettled(pen.settled())).toBe(true)
    pen.step(step('a'), true)
    const asked = pen.settled()
    expect(await isSettled(asked)).toBe(false)
    expect(pen.take()).not.toBeNull()
    const behind = pen.settled()
    expect([await isSettled(asked), await isSettled(behind)]).toEqual([false, false])
    pen.settle(running)
    await Promise.all([asked, behind])
    expect(await isSettled(pen.settled())).toBe(true)
  })

  test('the news that a step has begun need not wait', async () => {
    const pen = writer()
    pen.event('log', {})
    expect(await isSettled(pen.settled())).toBe(true)
  })

  test('a run that was taken over starts none', async () => {
    const pen = writer()
    pen.step(step('a'), true)
    const asked = pen.settled()
    pen.take()
    pen.settle(undefined)
    await expect(asked).rejects.toThrow(RunLost)
    await expect(pen.settled()).rejects.toThrow(RunLost)
  })
})

test('a lease counts from when the write was sent, not from when its answer came', () => {
  const pen = writer()
  pen.step(step('a'), true)
  nowMs = 1_000
  pen.take()
  nowMs = 14_000
  pen.settle(running)
  expect(pen.confirmedMs).toBe(1_000)
})

test('one checkpoint is under way at a time, and what comes meanwhile is asked for behind it', async () => {
  const pen = writer()
  pen.step(step('a'), true)
  expect(pen.take()).toMatchObject({ rev: 0, steps: [{ path: 'a' }] })
  pen.step(step('b'), true)
  const asked = pen.commit()
  expect(pen.take()).toBeNull()
  const before = flushes
  pen.settle(running)
  expect(flushes).toBe(before + 1)
  expect(pen.take()).toMatchObject({ rev: 1, steps: [{ path: 'b' }] })
  pen.settle(running)
  await asked
})

test('what comes behind the end of a lease is written by nobody', () => {
  const pen = writer()
  void pen.leave({ state: 'waiting' })
  expect(pen.take()).toMatchObject({ leaving: { state: 'waiting' } })
  pen.settle({ state: 'waiting', pendingCommands: 0 })
  pen.step(step('late'), true)
  pen.event('log', {})
  pen.call({ key: 'late', kind: 'http', request_hash: null, result: null })
  expect(pen.take()).toBeNull()
})

test.each(['waiting', 'paused', 'queued'] as const)(
  'a run that was about to be %s stays where a command is taken up',
  (state) => {
    const pen = writer()
    void pen.leave({ state })
    pen.applied('command')
    expect(pen.take()).toMatchObject({ leaving: null, waits: [], applied: ['command'] })
  },
)

test('a run that was about to end ends, whatever command is taken up', () => {
  const pen = writer()
  void pen.leave({ state: 'succeeded', output: null, error: null })
  pen.applied('command')
  expect(pen.take()).toMatchObject({ leaving: { state: 'succeeded' }, applied: ['command'] })
})
