import { expect, test } from 'vitest'
import { runShutdown } from '../../src/runtime/node/shutdown.ts'
import { createTestLog } from '../support/log.ts'
import { runtimes, startProcess } from '../support/process.ts'

test.each([
  ['node', 'SIGTERM', 143],
  ['node', 'SIGINT', 130],
  ['bun', 'SIGTERM', 143],
] as const)('on %s the first %s asks, the second ends at once with %i', async (runtime, signal, code) => {
  const process = startProcess(runtimes[runtime], ['test/support/await-signal.ts'])
  await process.saying(/waiting/)
  process.child.kill(signal)
  await process.saying(new RegExp(`first ${signal}`))
  process.child.kill(signal)
  expect(await process.ended).toBe(code)
})

test('a part that fails to stop is logged and the later parts still stop', async () => {
  const log = createTestLog()
  const done: string[] = []
  const clean = await runShutdown(
    [
      { name: 'engine', run: () => Promise.reject(new Error('boom')) },
      { name: 'database', run: async () => void done.push('database') },
    ],
    log,
  )
  expect(clean).toBe(false)
  expect(done).toEqual(['database'])
  expect(log.lines).toMatchObject([{ level: 'error', fields: { part: 'engine' } }])
})
