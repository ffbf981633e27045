import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { StepError } from '../../../src/services/runs/step-executor.ts'
import { createFaultBench, type Answer, type Effect, type Trial } from '../../support/fault-bench.ts'
import { faultKinds, type FaultKind } from '../../support/faulty-database.ts'
import { http, recipe, type EngineDatabase } from '../../support/engine.ts'

/**
 * Faults at every statement that a worker sends: before it arrives, between its commit and the acknowledgement, and a
 * worker that is cut off on either side of it. Judged by the rows and by what the effects saw.
 */
export function faultsSuite(open: () => Promise<EngineDatabase>): void {
  let database: EngineDatabase
  let bench: Awaited<ReturnType<typeof createFaultBench>>
  beforeAll(async () => {
    database = await open()
    bench = await createFaultBench(database)
  })
  afterAll(() => database.close())

  const agent = (id: string) => ({ id, kind: 'agent', agent: 'any', prompt: 'Go.' })
  const steps = [
    http('fetch'),
    { id: 'sum', kind: 'transform', value: { $expr: 'input.items.size()' } },
    agent('ask'),
    {
      id: 'route',
      kind: 'branch',
      cases: [{ when: 'steps.sum.output > 2', steps: [http('many')] }],
      default: [http('few')],
    },
    {
      id: 'each',
      kind: 'foreach',
      items: { $expr: 'input.items' },
      as: 'item',
      concurrency: 2,
      steps: [http('work'), { id: 'name', kind: 'transform', value: { $expr: '{"of": item}' } }],
    },
    http('flaky', { retry: { max_attempts: 3, backoff: '1ms' } }),
  ]
  const output = { $expr: '[steps.sum.output, steps.many.status, steps.each.output, steps.flaky.output.key]' }
  const inOneGo = recipe(steps, { output })
  const parked = recipe([...steps.slice(0, 3), { id: 'pause', kind: 'wait', duration: '20s' }, ...steps.slice(4)], {
    output: { $expr: '[steps.sum.output, steps.each.output, steps.flaky.output.key]' },
  })
  /** `between` is passed over first and visited by the jump back. */
  const jumping = recipe([
    http('leap', { on_error: { goto: 'back' } }),
    http('between'),
    http('back', { on_error: { goto: 'between' } }),
  ])
  const input = { items: ['a', 'b', 'c'] }
  const answer: Answer = ({ key, step, context }) => {
    if (step.id === 'flaky' && context.attempt === 1) throw new StepError('upstream', 'down')
    if (step.id === 'leap' || context.path === 'back') throw new StepError('upstream', 'down', { retryable: false })
    return { key }
  }
  const concurrency = 2

  /** Calls beyond those of an undisturbed run: of one step after the other, and of the items side by side. */
  function repeats(trial: Trial, undisturbed: Effect[]) {
    const perKey = (effects: Effect[]) => {
      const counts = new Map<string, number>()
      for (const { key } of effects) counts.set(key, (counts.get(key) ?? 0) + 1)
      return counts
    }
    const expected = perKey(undisturbed)
    const extra = [...perKey(trial.effects)].map(([key, count]) => [key, count - (expected.get(key) ?? 0)] as const)
    const sum = (of: typeof extra) => of.reduce((total, [, count]) => total + count, 0)
    return {
      inSequence: sum(extra.filter(([key]) => !key.startsWith('1/each/'))),
      inItems: sum(extra.filter(([key]) => key.startsWith('1/each/'))),
    }
  }
  const requests = (effects: Effect[]) =>
    [...new Set(effects.map((effect) => `${effect.key} ${effect.request}`))].sort()

  async function judge(trial: Trial, undisturbed: Trial, most: { inSequence: number; inItems: number }) {
    expect(await bench.outcome(trial.id)).toEqual(await bench.outcome(undisturbed.id))
    await bench.checkRows(trial.id)
    // The same keys, and one request for each.
    expect(requests(trial.effects)).toEqual(requests(undisturbed.effects))
    const { inSequence, inItems } = repeats(trial, undisturbed.effects)
    expect(inSequence).toBeLessThanOrEqual(most.inSequence)
    expect(inItems).toBeLessThanOrEqual(most.inItems)
    expect(inSequence + inItems).toBeLessThanOrEqual(concurrency)
  }

  const mostRepeats: Record<FaultKind, { inSequence: number; inItems: number }> = {
    refused: { inSequence: 0, inItems: 0 },
    unacknowledged: { inSequence: 0, inItems: 0 },
    'cut-before': { inSequence: 1, inItems: concurrency },
    'cut-after': { inSequence: 1, inItems: concurrency },
  }
  /** A claim whose answer is lost leases runs to a worker that never heard of them: their lease must run out. */
  const needsTakeover = (kind: FaultKind, struck: string) =>
    kind.startsWith('cut') || (kind === 'unacknowledged' && struck.includes('with recursive behind'))

  describe.each([
    ['in one go', inOneGo, 12],
    ['with a parked wait', parked, 12],
    ['with jumps', jumping, 5],
  ])('a run %s comes to the same end', (_, definition, fewestStatements) => {
    test.each(faultKinds)('whichever statement is %s', { timeout: 120_000 }, async (kind) => {
      const undisturbed = await bench.trial(definition, { input, answer })
      expect(await bench.outcome(undisturbed.id)).toMatchObject({ state: 'succeeded' })
      await bench.checkRows(undisturbed.id)
      expect(undisturbed.statements.length).toBeGreaterThanOrEqual(fewestStatements)
      for (let at = 1; at <= undisturbed.statements.length; at++) {
        const trial = await bench.trial(definition, { input, answer, fault: { at, kind } })
        try {
          await judge(trial, undisturbed, mostRepeats[kind])
          if (trial.struck !== null && !needsTakeover(kind, trial.struck)) expect(trial.finishedAlone).toBe(true)
        } catch (error) {
          throw new Error(`Statement ${at} ${kind}: ${trial.struck?.slice(0, 200)}`, { cause: error })
        }
      }
    })
  })

  test('an effect that answered and was not recorded comes once more, and no other does', async () => {
    const undisturbed = await bench.trial(inOneGo, { input, answer })
    for (let n = 1; n <= undisturbed.effects.length; n++) {
      const trial = await bench.trial(inOneGo, { input, answer, cutAfterEffect: n })
      await judge(trial, undisturbed, { inSequence: 1, inItems: concurrency })
      const answered = trial.effects[n - 1]!.key
      const calls = (effects: Effect[]) => effects.filter((effect) => effect.key === answered).length
      expect(calls(trial.effects)).toBe(calls(undisturbed.effects) + 1)
    }
  })

  describe('a once step', () => {
    const definition = recipe([http('before'), http('charge', { once: true }), http('after')])
    const charges = (trial: Trial) => trial.effects.filter((effect) => effect.key.includes('/charge/')).length

    test.each(faultKinds)('is asked for at most once, whichever statement is %s', { timeout: 60_000 }, async (kind) => {
      const undisturbed = await bench.trial(definition)
      for (let at = 1; at <= undisturbed.statements.length; at++) {
        const trial = await bench.trial(definition, { fault: { at, kind } })
        expect(charges(trial)).toBeLessThanOrEqual(1)
        await bench.checkRows(trial.id)
        const outcome = await bench.outcome(trial.id)
        // Only a worker that is gone leaves an outcome that nobody knows.
        if (!kind.startsWith('cut')) expect(outcome).toEqual(await bench.outcome(undisturbed.id))
        else if (outcome.state !== 'succeeded')
          expect(outcome).toMatchObject({ state: 'failed', error: { kind: 'outcome_unknown', step: 'charge' } })
      }
    })

    test('that answered before its worker was cut off fails as outcome_unknown', async () => {
      const trial = await bench.trial(definition, { cutAfterEffect: 2 })
      expect(charges(trial)).toBe(1)
      expect(await bench.outcome(trial.id)).toMatchObject({ state: 'failed', error: { kind: 'outcome_unknown' } })
      await bench.checkRows(trial.id)
    })
  })
}
