import { expect, test } from 'vitest'
import { createDeferredWork } from '../../src/runtime/defer.ts'
import { createTestLog } from '../support/log.ts'

test('settled waits for all work, also for what that work defers', async () => {
  const { defer, settled } = createDeferredWork(createTestLog())
  const done: string[] = []
  defer(
    Promise.resolve().then(() => {
      done.push('first')
      defer(Promise.resolve().then(() => void done.push('second')))
    }),
  )
  await settled()
  expect(done).toEqual(['first', 'second'])
})

test('a failure is logged and does not reach whoever waits', async () => {
  const log = createTestLog()
  const { defer, settled } = createDeferredWork(log)
  const error = new Error('boom')
  defer(Promise.reject(error))
  await settled()
  expect(log.lines).toEqual([{ level: 'error', message: 'Deferred work failed', fields: { error } }])
})
