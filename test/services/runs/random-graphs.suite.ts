import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { validateDefinition } from '../../../src/services/recipes/validate.ts'
import { StepError, type StepContext } from '../../../src/services/runs/step-executor.ts'
import { nextTurn } from '../../../src/lib/next-turn.ts'
import { createFaultBench, type Answer } from '../../support/fault-bench.ts'
import { faultKinds } from '../../support/faulty-database.ts'
import { createEngineBench, recipe, type EngineBench, type EngineDatabase } from '../../support/engine.ts'
import { randomRecipe, type RandomRecipe } from '../../support/random-graphs.ts'
import {
  anything,
  interpret,
  needsOf,
  type ReferenceResult,
  type ReferenceStep,
} from '../../support/reference-interpreter.ts'

/** Random recipes of one pass; TEST_RANDOM_RECIPES asks for more. What fails is printed with its seed. */
const numRuns = Number(process.env['TEST_RANDOM_RECIPES'] ?? 60)
const ended = ['succeeded', 'failed']

interface Disturbance {
  /** At which effects the worker lets go of the run. */
  at: number[]
  /** It waits for what is under way, or leaves it. */
  waits: boolean
  /** How many turns of the event loop effects take, in turn. */
  turns: number[]
  maxParallel: number
}
const disturbance: fc.Arbitrary<Disturbance> = fc.record({
  at: fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 3 }),
  waits: fc.boolean(),
  turns: fc.array(fc.nat({ max: 4 }), { minLength: 1, maxLength: 7 }),
  maxParallel: fc.integer({ min: 1, max: 6 }),
})

/** However a recipe is put together and whoever runs it, it comes to what a plain interpreter makes of it. */
export function randomGraphsSuite(open: () => Promise<EngineDatabase>): void {
  let database: EngineDatabase
  let b: EngineBench
  let faulty: Awaited<ReturnType<typeof createFaultBench>>
  beforeAll(async () => {
    database = await open()
    b = await createEngineBench(database)
    faulty = await createFaultBench(database)
  })
  afterAll(() => database.close())

  test(
    'any recipe comes to what the reference makes of it, whoever goes on with it',
    { timeout: 600_000 },
    async () => {
      await fc.assert(
        fc.asyncProperty(randomRecipe, disturbance, async (random, disturbed) => {
          const { id, most } = await runDisturbed(b, random, disturbed)
          expect(most).toBeLessThanOrEqual(disturbed.maxParallel)
          await compare(b, id, expectedOf(random))
          await checkOrder(b, id, random.steps)
          await checkStatics(b, id, random.steps)
        }),
        { numRuns },
      )
    },
  )

  test('and after a fault at any statement', { timeout: 600_000 }, async () => {
    const anyFault = fc.record({
      where: fc.double({ min: 0, max: 1, noNaN: true }),
      kind: fc.constantFrom(...faultKinds),
    })
    await fc.assert(
      fc.asyncProperty(randomRecipe, anyFault, async (random, { where, kind }) => {
        const definition = recipe(random.steps)
        const answer: Answer = ({ step, context }) => outcomeOf(context, random.fails.get(step.id)!)
        const undisturbed = await faulty.trial(definition, { answer })
        const at = 1 + Math.floor(where * (undisturbed.statements.length - 1))
        const disturbed = await faulty.trial(definition, { answer, fault: { at, kind } })
        for (const { id } of [undisturbed, disturbed]) {
          await compare(b, id, expectedOf(random))
          await faulty.checkRows(id)
        }
      }),
      { numRuns: Math.ceil(numRuns / 4) },
    )
  })
}

const expectedOf = ({ steps, fails }: RandomRecipe): ReferenceResult =>
  interpret(steps, (id, visit, attempt) => visit === 1 && attempt <= fails.get(id)!)

/** Only a first visit fails, so that every jump back comes to an end. */
function outcomeOf({ path, attempt }: StepContext, fails: number) {
  const visitedAgain = path.split('/').at(-1)!.includes('~')
  if (!visitedAgain && attempt <= fails) throw new StepError('upstream', 'down')
  return { path, attempt }
}

async function runDisturbed(b: EngineBench, { steps, fails }: RandomRecipe, disturbed: Disturbance) {
  let [made, now, most, turn] = [0, 0, 0, 0]
  let letGo = (_waits: boolean): void => {}
  for (const id of fails.keys())
    b.script(id, async ({ context }) => {
      made++
      most = Math.max(most, ++now)
      try {
        if (disturbed.at.includes(made)) letGo(disturbed.waits)
        const turns = disturbed.turns[turn++ % disturbed.turns.length]!
        for (let each = 0; each < turns && !context.signal.aborted; each++) await nextTurn()
      } finally {
        now--
      }
      return outcomeOf(context, fails.get(id)!)
    })
  const id = await b.start(recipe(steps, { settings: { max_parallel: disturbed.maxParallel } }))
  for (let worker = 1; worker <= disturbed.at.length + 1; worker++) {
    const engine = b.worker(`worker-${worker}`)
    let drained: Promise<void> | null = null
    letGo = (waits) => void (drained ??= engine.drain(waits ? 60_000 : 0))
    await engine.claim()
    await engine.idle()
    await drained
    if (ended.includes((await b.run(id)).state)) break
  }
  return { id, most }
}

async function compare(b: EngineBench, id: string, expected: ReferenceResult): Promise<void> {
  const run = await b.run(id)
  expect(run.state).toBe(expected.state)
  if (run.state === 'succeeded') expect(fitting(run.output, expected.output)).toEqual(expected.output)
  else expect(expected.failures).toContain((run.error as { step: string }).step)
  const rows = await b.steps(id)
  for (const [path, row] of Object.entries(rows)) {
    const wanted = expected.rows.get(path)
    expect(wanted, `nothing was to happen at ${path}`).toBeDefined()
    if (wanted!.loose && row.status === 'canceled') continue
    const output = row.status === 'succeeded' ? fitting(row.output, wanted!.output) : null
    expect({ path, status: row.status, output }).toEqual({
      path,
      status: wanted!.status,
      output: row.status === 'succeeded' ? wanted!.output : null,
    })
  }
  for (const [path, { loose }] of expected.rows) if (!loose) expect(Object.keys(rows)).toContain(path)
}

/** The value with `anything` where that is what is wanted. */
function fitting(value: unknown, wanted: unknown): unknown {
  if (wanted === anything) return anything
  if (!Array.isArray(value) || !Array.isArray(wanted)) return value
  return value.map((each, index) => fitting(each, wanted[index]))
}

/** A step starts only when the last visit of each step it needs has ended. */
async function checkOrder(b: EngineBench, id: string, steps: ReferenceStep[]): Promise<void> {
  const events = await b.ctx.db
    .selectFrom('run_events')
    .select(['type', 'data'])
    .where('run_id', '=', id)
    .where('type', 'like', 'step.%')
    .orderBy('seq')
    .execute()
  const needs = new Map(allLists(steps).flatMap((list) => [...needsOf(list)]))
  const open = new Map<string, boolean>()
  for (const { type, data } of events) {
    const path = String(data['path']).replace(/~\d+$/, '')
    const at = path.lastIndexOf('/') + 1
    if (type === 'step.started')
      for (const need of needs.get(path.slice(at)) ?? []) {
        const needed = path.slice(0, at) + need
        expect(open.get(needed), `${path} starts before ${needed} has ended`).toBe(false)
      }
    if (type === 'step.started') open.set(path, true)
    else if (type !== 'step.retrying' && type !== 'step.waiting') open.set(path, false)
  }
}

const listsOf = (step: ReferenceStep): ReferenceStep[][] => [
  ...(step.cases ?? []).map((each) => each.steps),
  ...(step.default ? [step.default] : []),
  ...(step.steps ? [step.steps] : []),
]
const allLists = (steps: ReferenceStep[]): ReferenceStep[][] => [
  steps,
  ...steps.flatMap((step) => listsOf(step).flatMap(allLists)),
]

/** What the check at write says cannot be seen, or cannot run, is not seen and does not run; of jumps it has nothing to say. */
async function checkStatics(b: EngineBench, id: string, steps: ReferenceStep[]): Promise<void> {
  const { faults } = validateDefinition({ name: 'Random', steps })
  const rows = Object.entries(await b.steps(id))
  const visitsOf = (pointer: string) => {
    const step = pointer
      .split('/')
      .slice(1)
      .reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], { steps }) as ReferenceStep
    return rows.filter(([path]) => path.split('/').at(-1)!.replace(/~\d+$/, '') === step.id)
  }
  for (const { pointer, detail } of faults) {
    const [, place, index] = /^(.*)\/value\/(\d+)\/\$expr$/.exec(pointer) ?? []
    if (place !== undefined) {
      expect(detail).toMatch(/cannot have run before|need not have ended/)
      for (const [, { status, output }] of visitsOf(place))
        if (status === 'succeeded') expect((output as unknown[])[Number(index)], detail).toBe('pending')
    } else if (detail.startsWith('can never run')) {
      for (const [path, { status }] of visitsOf(pointer)) expect({ path, status }).toEqual({ path, status: 'skipped' })
    } else expect({ pointer, detail }).toEqual({ pointer: expect.stringMatching(/\/when$/), detail: expect.anything() })
  }
}
