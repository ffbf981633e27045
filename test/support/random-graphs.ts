import fc from 'fast-check'
import { mayJump, needsOf, type ReferenceStep } from './reference-interpreter.ts'

type Outcome = 'fail' | 'continue' | 'jump'
interface Common {
  outcome: Outcome
  /** Which of the steps that it may jump to. */
  target: number
  /** Which step of its list its condition asks about; 0: it has none. */
  asks: number
}
type Plan = Common &
  (
    | { kind: 'http'; fails: number; attempts: number }
    | { kind: 'transform' | 'wait' | 'fail' }
    | { kind: 'branch'; takes: boolean; then: ListPlan; otherwise: ListPlan | null }
    | { kind: 'foreach'; items: number; collect: boolean; body: ListPlan }
  )
interface ListPlan {
  steps: { plan: Plan; needs: number; place: number; implied: boolean }[]
  isGraph: boolean
}

const common = {
  outcome: fc.constantFrom<Outcome>('jump', 'jump', 'continue', 'continue', 'fail'),
  target: fc.nat({ max: 9 }),
  asks: fc.constantFrom(0, 0, 0, 0, 1, 2, 3),
}
const leaf = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('http' as const),
      fails: fc.constantFrom(0, 0, 0, 1, 2),
      attempts: fc.integer({ min: 1, max: 2 }),
      ...common,
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('transform' as const), ...common }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('wait' as const, 'fail' as const), ...common }) },
) as fc.Arbitrary<Plan>

const { list } = fc.letrec<{ list: ListPlan; plan: Plan }>((tie) => ({
  list: fc.record({
    steps: fc.array(
      fc.record({
        plan: tie('plan'),
        // Bits: which of the steps before it in the order of the plan.
        needs: fc.nat({ max: 63 }),
        place: fc.nat({ max: 99 }),
        implied: fc.boolean(),
      }),
      { minLength: 1, maxLength: 6 },
    ),
    isGraph: fc.constantFrom(true, true, false),
  }),
  plan: fc.oneof(
    { depthSize: 'small', maxDepth: 2, withCrossShrink: true },
    { weight: 5, arbitrary: leaf },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('branch' as const),
        takes: fc.boolean(),
        then: tie('list'),
        otherwise: fc.option(tie('list')),
        ...common,
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('foreach' as const),
        items: fc.nat({ max: 3 }),
        collect: fc.boolean(),
        body: tie('list'),
        ...common,
      }),
    },
  ),
}))

export interface RandomRecipe {
  steps: ReferenceStep[]
  /** How often the effect of a step fails when it is first visited. */
  fails: Map<string, number>
}

/** Recipes of lists in a row and of graphs, whose jumps stay within the bounds. */
export const randomRecipe: fc.Arbitrary<RandomRecipe> = list.map((plan) => {
  const fails = new Map<string, number>()
  let count = 0
  const build = ({ steps, isGraph }: ListPlan, around: string[]): ReferenceStep[] => {
    const ids = steps.map(() => `s${++count}`)
    const order = steps.map((_, rank) => rank)
    if (isGraph) order.sort((a, b) => steps[a]!.place - steps[b]!.place)
    const needs = new Map<string, string[] | undefined>()
    for (const [position, rank] of order.entries()) {
      const previous = order[position - 1]
      // The step before it may go without saying where the order of the plan has it so.
      const goesWithout = steps[rank]!.implied && previous !== undefined && previous < rank
      const named = ids.filter((_, each) => each < rank && (steps[rank]!.needs >> each) % 2 === 1)
      needs.set(ids[rank]!, !isGraph || goesWithout ? undefined : named)
    }
    const bare = order.map((rank): ReferenceStep => {
      const own = needs.get(ids[rank]!)
      return { id: ids[rank]!, kind: '', ...(own && { needs: own }) }
    })
    return order.map((rank, position) => complete(steps[rank]!.plan, bare[position]!, bare, around))
  }
  const complete = (plan: Plan, step: ReferenceStep, siblings: ReferenceStep[], around: string[]): ReferenceStep => {
    const own = siblings.map(({ id }) => id)
    const targets = own.filter((id) => mayJump(needsOf(siblings), step.id, id))
    // A step that fails whenever it is visited would jump back for ever.
    const isSteady = plan.kind !== 'http'
    const isAhead = (id: string) => mayJump(needsOf(siblings), step.id, id) && !reaches(siblings, step.id, id)
    const usable = isSteady ? targets.filter((id) => id !== step.id && isAhead(id)) : targets
    const goto = usable[plan.target % Math.max(1, usable.length)]
    const onError = plan.outcome !== 'jump' ? plan.outcome : goto === undefined ? ('continue' as const) : { goto }
    const asked = own[(plan.asks + own.indexOf(step.id)) % own.length]!
    const more = {
      ...step,
      kind: plan.kind,
      on_error: onError,
      ...(plan.asks > 0 && { when: `steps.${asked}.status == "succeeded"` }),
    }
    switch (plan.kind) {
      case 'http':
        fails.set(step.id, plan.fails)
        return {
          ...more,
          retry: { max_attempts: plan.attempts, backoff: '1ms' },
          request: { method: 'POST', url: 'http://effect.test/' },
        } as ReferenceStep
      case 'transform':
        return { ...more, value: [...around, ...own].map((id) => ({ $expr: `steps.${id}.status` })) }
      case 'wait':
        return { ...more, duration: '1ms' } as ReferenceStep
      case 'fail':
        return { ...more, message: 'No.' } as ReferenceStep
      case 'branch': {
        const seen = [...around, ...own]
        const cases = [{ when: String(plan.takes), steps: build(plan.then, seen) }]
        return { ...more, cases, ...(plan.otherwise && { default: build(plan.otherwise, seen) }) }
      }
      case 'foreach':
        return {
          ...more,
          items: Array.from({ length: plan.items }, (_, item) => item),
          as: `item_${step.id}`,
          // Which items fail_fast still meets is a matter of chance unless they come one by one.
          concurrency: plan.collect ? 3 : 1,
          on_item_error: plan.collect ? 'collect' : 'fail_fast',
          steps: build(plan.body, [...around, ...own]),
        } as ReferenceStep
    }
  }
  return { steps: build(plan, []), fails }
})

/** Whether `to` comes before `from`. */
function reaches(steps: ReferenceStep[], from: string, to: string): boolean {
  const needs = needsOf(steps)
  const seen = new Set<string>()
  const look = (id: string): boolean =>
    needs.get(id)!.some((need) => need === to || (!seen.has(need) && (seen.add(need), look(need))))
  return look(from)
}
