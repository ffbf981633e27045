import { describe, expect, test } from 'vitest'
import { createLocalWake } from '../../src/runtime/local-wake.ts'
import { createTestLog } from '../support/log.ts'
import { describeWake, hear } from './wake.suite.ts'

describe('port:wake adapter:local', () => {
  describeWake(async () => {
    const wake = createLocalWake(createTestLog())
    return { sender: wake, receiver: wake }
  })

  test('a signal is delivered before the call returns', () => {
    const wake = createLocalWake(createTestLog())
    const { heard } = hear(wake)
    wake.runReady('r1')
    expect(heard).toEqual([{ kind: 'run-ready', runId: 'r1' }])
  })

  test('the fault of a listener is logged', () => {
    const log = createTestLog()
    const wake = createLocalWake(log)
    wake.listen(() => {
      throw new Error('boom')
    })
    wake.schedulesChanged()
    expect(log.lines).toMatchObject([{ level: 'error', fields: { signal: 'schedules-changed' } }])
  })
})
