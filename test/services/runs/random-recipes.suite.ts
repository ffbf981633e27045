import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { StepError } from '../../../src/services/runs/step-executor.ts'
import { http, recipe, type EngineDatabase } from '../../support/engine.ts'
import { createFaultBench, type Answer } from '../../support/fault-bench.ts'
import { faultKinds } from '../../support/faulty-database.ts'

/** What a random step is to be; the list it stands in gives it its id and its jumps their targets. */
type Plan =
  | { kind: 'http'; fails: number; attempts: number; onError: 'fail' | 'continue' | 'back' | 'on' }
  | { kind: 'transform'; condition: boolean }
  | { kind: 'branch'; takes: boolean; then: Plan[]; otherwise: Plan[] }
  | { kind: 'foreach'; items: number; collect: boolean; steps: Plan[] }

// Jumps are where resumed runs go astray, so they are what most lists are made of.
const onErrors = ['back', 'back', 'on', 'on', 'continue', 'fail'] as const
const leaf: fc.Arbitrary<Plan> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('http' as const),
      fails: fc.constantFrom(0, 0, 1, 2),
      attempts: fc.integer({ min: 1, max: 2 }),
      onError: fc.constantFrom(...onErrors),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('transform' as const), condition: fc.boolean() }) },
)
const lists = fc.letrec<{ list: Plan[]; step: Plan }>((tie) => ({
  list: fc.array(tie('step'), { minLength: 1, maxLength: 4 }),
  step: fc.oneof(
    { depthSize: 'small', maxDepth: 2, withCrossShrink: true },
    leaf,
    fc.record({
      kind: fc.constant('branch' as const),
      takes: fc.boolean(),
      then: tie('list'),
      otherwise: tie('list'),
    }),
    fc.record({
      kind: fc.constant('foreach' as const),
      items: fc.integer({ min: 0, max: 3 }),
      collect: fc.boolean(),
      steps: tie('list'),
    }),
  ),
}))

interface Build {
  count: number
  fails: Map<string, number>
}

function toSteps(plans: Plan[], build: Build): object[] {
  const ids = plans.map(() => `s${++build.count}`)
  return plans.map((plan, index) => {
    const id = ids[index]!
    switch (plan.kind) {
      case 'http': {
        build.fails.set(id, plan.fails)
        const target = plan.onError === 'back' ? ids[Math.max(0, index - 1)] : ids[Math.min(ids.length - 1, index + 2)]
        const jumps = plan.onError === 'back' || (plan.onError === 'on' && index + 1 < ids.length)
        const onError = plan.onError === 'fail' ? 'fail' : jumps ? { goto: target } : 'continue'
        return http(id, { retry: { max_attempts: plan.attempts, backoff: '1ms' }, on_error: onError })
      }
      case 'transform':
        return { id, kind: 'transform', when: String(plan.condition), value: { $expr: `steps.${ids[0]}.status` } }
      case 'branch':
        return {
          id,
          kind: 'branch',
          cases: [{ when: String(plan.takes), steps: toSteps(plan.then, build) }],
          default: toSteps(plan.otherwise, build),
        }
      case 'foreach':
        return {
          id,
          kind: 'foreach',
          items: Array.from({ length: plan.items }, (_, n) => n),
          as: `item_${id}`,
          // Which items fail_fast still meets is a matter of chance unless they come one by one.
          concurrency: plan.collect ? 3 : 1,
          on_item_error: plan.collect ? 'collect' : 'fail_fast',
          on_error: 'continue',
          steps: toSteps(plan.steps, build),
        }
    }
  })
}

/** However a recipe is put together and wherever its worker fails: the end is that of an undisturbed run. */
export function randomRecipesSuite(open: () => Promise<EngineDatabase>): void {
  let database: EngineDatabase
  let bench: Awaited<ReturnType<typeof createFaultBench>>
  beforeAll(async () => {
    database = await open()
    bench = await createFaultBench(database)
  })
  afterAll(() => database.close())

  test('any recipe ends the same way after a fault at any statement', { timeout: 180_000 }, async () => {
    const anyCase = fc.tuple(lists.list, fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(...faultKinds))
    await fc.assert(
      fc.asyncProperty(anyCase, async ([plans, where, kind]) => {
        const build: Build = { count: 0, fails: new Map() }
        const definition = recipe(toSteps(plans, build))
        const answer: Answer = ({ key, step, context }) => {
          // Only a first visit fails, so that every jump back comes to an end.
          const visitedAgain = context.path.split('/').at(-1)!.includes('~')
          if (!visitedAgain && context.attempt <= build.fails.get(step.id)!) throw new StepError('upstream', 'down')
          return { key }
        }
        const undisturbed = await bench.trial(definition, { answer })
        const at = 1 + Math.floor(where * (undisturbed.statements.length - 1))
        const disturbed = await bench.trial(definition, { answer, fault: { at, kind } })
        const keys = (trial: typeof undisturbed) => [...new Set(trial.effects.map((effect) => effect.key))].sort()
        expect(await bench.outcome(disturbed.id)).toEqual(await bench.outcome(undisturbed.id))
        expect(keys(disturbed)).toEqual(keys(undisturbed))
        await bench.checkRows(undisturbed.id)
        await bench.checkRows(disturbed.id)
      }),
      { numRuns: 40 },
    )
  })
}
