import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { StepError } from '../../src/services/runs/step-executor.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { http, recipe } from '../support/engine.ts'
import { createFaultBench, type Answer, type Trial } from '../support/fault-bench.ts'
import type { AnyFaultKind } from '../support/faulty-database.ts'
import { metAt } from './support/every-statement.ts'

// A run whose worker is gone is taken up by another, and that one meets a fault at any statement of its own: the recovery, the
// claim, the reading of what is stored, and all that comes behind them.

let database: TestDatabase
let bench: Awaited<ReturnType<typeof createFaultBench>>
beforeAll(async () => {
  database = await createTestDatabase()
  bench = await createFaultBench(database)
})
afterAll(() => database.close())

const definition = recipe(
  [
    http('before'),
    http('charge', { once: true, on_error: 'continue' }),
    {
      id: 'each',
      kind: 'foreach',
      items: { $expr: 'input.items' },
      as: 'item',
      concurrency: 2,
      steps: [http('work')],
    },
    http('flaky', { retry: { max_attempts: 3, backoff: '1ms' } }),
  ],
  { output: { $expr: 'steps.each.output' } },
)
const input = { items: ['a', 'b', 'c'] }
const answer: Answer = ({ key, step, context }) => {
  if (step.id === 'flaky' && context.attempt === 1) throw new StepError('upstream', 'down')
  return { key }
}
const keys = ['before', 'charge', 'each/0/work', 'each/1/work', 'each/2/work', 'flaky'].map((path) => `1/${path}/0.0`)

async function judge(trial: Trial, fallenIn: 'charge' | 'items', kind: AnyFaultKind | null): Promise<void> {
  const isCut = kind?.startsWith('cut') ?? false
  await bench.checkRows(trial.id)
  const { state, output, steps } = await bench.outcome(trial.id)
  expect({ state, output }).toMatchObject({ state: 'succeeded', output: [{}, {}, {}] })
  // The first worker was asking for it when it went, or the second was: then nobody knows how that went.
  const charge = steps.find(({ path }) => path === 'charge')!.status
  if (fallenIn === 'charge') expect(charge).toBe('failed')
  else expect(charge).toBe('succeeded')
  const counts = new Map<string, number>()
  for (const { key } of trial.effects) counts.set(key, (counts.get(key) ?? 0) + 1)
  expect([...counts.keys()].toSorted()).toEqual(keys.toSorted())
  expect(new Set(trial.effects.map(({ key, request }) => `${key} ${request}`)).size).toBe(keys.length)
  expect(counts.get('1/charge/0.0')).toBe(1)
  // Of each worker that went, what it had in flight: one call, or as many as there are items side by side. One of `flaky`
  // is its second attempt.
  const repeats = trial.effects.length - keys.length - 1
  const ofFirst = fallenIn === 'charge' ? 0 : 2
  expect(repeats).toBeLessThanOrEqual(ofFirst + (isCut ? 2 : 0))
  const { rows } = await sql<{ recovered: number }>`
    select count(*)::integer as recovered from run_events
    where run_id = ${trial.id} and type = 'execution.recovered'`.execute(database.db)
  // A lease that nobody held any more was counted once, whatever the answer to the recovery came to.
  const lostLeases = isCut || (kind === 'unacknowledged' && trial.struck?.includes('with recursive behind')) ? 2 : 1
  expect(rows[0]!.recovered).toBeGreaterThanOrEqual(1)
  expect(rows[0]!.recovered).toBeLessThanOrEqual(lostLeases)
}

describe.each([
  ['charge' as const, 2],
  ['items' as const, 4],
])('a run whose worker went among its %s', (fallenIn, fallenAfterEffect) => {
  test.each(metAt)(
    'is taken up and comes to its end, whichever statement is %s',
    { timeout: 120_000 },
    async (kind) => {
      const undisturbed = await bench.trial(definition, { input, answer, fallenAfterEffect })
      await judge(undisturbed, fallenIn, null)
      expect(undisturbed.statements.length).toBeGreaterThan(8)
      for (let at = 1; at <= undisturbed.statements.length; at++) {
        const trial = await bench.trial(definition, { input, answer, fallenAfterEffect, fault: { at, kind } })
        try {
          await judge(trial, fallenIn, kind)
        } catch (error) {
          throw new Error(`Statement ${at} ${kind}: ${trial.struck?.slice(0, 200)}`, { cause: error })
        }
      }
    },
  )
})
