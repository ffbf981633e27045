import { expect, test } from 'vitest'
import { anyRun } from '../../src/lib/any-run.ts'
import { readPayload, WakeBatch } from '../../src/runtime/node/wake-batch.ts'

const run = () => crypto.randomUUID()

test('a batch names each run once a kind', () => {
  const batch = new WakeBatch()
  expect(batch.empty).toBe(true)
  for (let i = 0; i < 3; i++) batch.add({ kind: 'run-ready', runId: 'a' })
  batch.add({ kind: 'events', runId: 'a' })
  batch.add({ kind: 'schedules-changed' })
  expect(batch.empty).toBe(false)
  expect(readPayload(batch.toPayload('me'), 'you')).toEqual([
    { kind: 'run-ready', runId: 'a' },
    { kind: 'events', runId: 'a' },
    { kind: 'schedules-changed' },
  ])
})

test('the fullest batch that names runs fits into a NOTIFY of 8000 bytes, and one run more says "any"', () => {
  const batch = new WakeBatch()
  for (let i = 0; i < 60; i++) {
    for (const kind of ['run-ready', 'command', 'events'] as const) batch.add({ kind, runId: run() })
  }
  batch.add({ kind: 'schedules-changed' })
  expect(batch.toPayload(run()).length).toBeLessThan(8000)
  expect(readPayload(batch.toPayload('me'), 'you')).toHaveLength(181)

  batch.add({ kind: 'events', runId: run() })
  const signals = readPayload(batch.toPayload('me'), 'you')
  expect(signals.filter(({ kind }) => kind === 'events')).toEqual([{ kind: 'events', runId: anyRun }])
  expect(signals.filter(({ kind }) => kind === 'command')).toHaveLength(60)
})

test('changes of callers come from the database, and nothing but their ids is taken', () => {
  const payload = JSON.stringify({ p: 'database', k: ['key-1', 7, null, 'user-2'] })
  expect(readPayload(payload, 'me')).toEqual([
    { kind: 'callers-changed', callerId: 'key-1' },
    { kind: 'callers-changed', callerId: 'user-2' },
  ])
})

test.each(['', 'no json', 'null', '[]', '7', '{"r":"x"}', '{"r":[1,null,{}]}', '{"k":"x"}'])(
  'a foreign payload %j is ignored',
  (text) => {
    expect(readPayload(text, 'me')).toEqual([])
  },
)

test("a process drops its own batch's echo", () => {
  const batch = new WakeBatch()
  batch.add({ kind: 'command', runId: 'a' })
  expect(readPayload(batch.toPayload('me'), 'me')).toEqual([])
})
