import { sql } from 'kysely'
import type { Clock, Runtime, ServiceContext } from '../../src/context.ts'
import { canonicalJson } from '../../src/lib/canonical.ts'
import type { Json } from '../../src/lib/json.ts'
import { createMemoryBlobs } from '../../src/runtime/memory-blobs.ts'
import { recoverRuns, wakeDueRuns } from '../../src/services/runs/claim.ts'
import { Engine } from '../../src/services/runs/engine.ts'
import { startRun } from '../../src/services/runs/start-run.ts'
import type { StepContext, StepExecutor, StepExecutors } from '../../src/services/runs/step-executor.ts'
import type { RecipeDefinition } from '../../src/services/recipes/definition.ts'
import type { EngineDatabase } from './engine.ts'
import { FaultyLine, type AnyFaultKind } from './faulty-database.ts'
import { expectWholeRuns } from './invariants.ts'
import { createServiceContext } from './service-context.ts'

export interface Effect {
  /** Without the run's id, so that runs compare. */
  key: string
  request: string
}
/** Answers an effect; `nth` counts the calls of one key. Throws a StepError to fail. */
export type Answer = (effect: { key: string; step: { id: string }; context: StepContext; nth: number }) => Json

export interface Trial {
  id: string
  effects: Effect[]
  statements: string[]
  struck: string | null
  /** Whether the worker that met the fault brought the run to its end. */
  finishedAlone: boolean
}

const ended = ['succeeded', 'failed', 'canceled', 'timed_out']
const leaseMs = 31_000

/** Runs a recipe on a worker whose line to the database fails at one point, and has a second worker take over. */
export async function createFaultBench(database: EngineDatabase) {
  const { db } = database
  const ctx: ServiceContext = await createServiceContext(database)
  ctx.blobs = createMemoryBlobs()
  let elapsedMs = 0
  /** Time passes for the database and for every worker alike. */
  const pass = async (ms: number) => {
    elapsedMs += ms
    await database.shiftClock({ seconds: elapsedMs / 1_000 })
  }
  const clock: Clock = { now: () => new Date(), monotonicMs: () => performance.now() + elapsedMs }

  const stateOf = async (id: string) =>
    (await db.selectFrom('runs').select('state').where('id', '=', id).executeTakeFirstOrThrow()).state
  const turn = async (worker: Engine, line: ServiceContext['db']) => {
    try {
      await wakeDueRuns(line, 10)
      await worker.claim()
    } catch {
      // As a service's tick that failed: the next one tries again.
    }
    await worker.idle()
  }

  async function trial(
    definition: RecipeDefinition,
    options: {
      input?: Json
      answer?: Answer
      fault?: { at: number; kind: AnyFaultKind } | null
      /** Cuts the line when this many effects have answered, before anything of it is committed. */
      cutAfterEffect?: number
      /** Another worker has had the run before and is gone since this many effects had answered. */
      fallenAfterEffect?: number
    } = {},
  ): Promise<Trial> {
    const effects: Effect[] = []
    const line = new FaultyLine(db, options.fault ?? null)
    const fallen = new FaultyLine(db, null)
    const make = (context: StepContext, step: { id: string }, request: Json) => async (idempotencyKey: string) => {
      const key = idempotencyKey.slice(context.runId.length + 1)
      effects.push({ key, request: canonicalJson(request) })
      const nth = effects.filter((effect) => effect.key === key).length
      if (effects.length === options.fallenAfterEffect) fallen.cutNow()
      if (effects.length === options.cutAfterEffect) line.cutNow()
      return options.answer?.({ key, step, context, nth }) ?? { key }
    }
    const { id } = await startRun(ctx, { definition, trigger: { kind: 'api' }, input: options.input ?? {} })
    const engine = (owner: string, through: ServiceContext['db']) =>
      new Engine({ ...ctx, db: through, clock } as Runtime, { owner, concurrency: 10, executors: executorsOf(make) })

    const isTakenUp = options.fallenAfterEffect !== undefined
    if (isTakenUp) {
      await Promise.race([turn(engine('fallen', fallen.db), fallen.db), fallen.cut])
      await pass(leaseMs)
    }
    const first = engine('first', line.db)
    let cut = false
    void line.cut.then(() => (cut = true))
    for (let turns = 0; turns < 6 && !cut && !ended.includes(await stateOf(id)); turns++) {
      if ((await stateOf(id)) === 'waiting') await pass(25_000)
      if (isTakenUp) await Promise.race([recoverRuns(line.db, 10).catch(() => {}), line.cut])
      await Promise.race([turn(first, line.db), line.cut])
    }
    const finishedAlone = ended.includes(await stateOf(id))
    const second = engine('second', db)
    for (let turns = 0; turns < 6 && !ended.includes(await stateOf(id)); turns++) {
      await pass(leaseMs)
      await recoverRuns(db, 10)
      await turn(second, db)
    }
    return { id, effects, statements: line.statements, struck: line.struck, finishedAlone }
  }

  return {
    ctx,
    trial,
    outcome: (id: string) => outcomeOf(db, id),
    checkRows: (id: string) => expectWholeRuns(db, [id]),
  }
}

type Make = (context: StepContext, step: { id: string }, request: Json) => (idempotencyKey: string) => Promise<Json>

/** `http` makes one final call; `agent` a model round, a tool call and a closing round, each with its usage. */
function executorsOf(make: Make): StepExecutors {
  const http: StepExecutor<{ id: string }> = async (step, context) => {
    const request = { step: step.id, input: context.render({ $expr: 'input' }) }
    return context.effect('0.0', 'http', request, make(context, step, request), { final: () => true })
  }
  const agent: StepExecutor<{ id: string }> = async (step, context) => {
    const round = async (key: string, request: Json, final: boolean) => {
      const answer = await context.effect(
        key,
        'model',
        request,
        async (idempotencyKey) => {
          const made = await make(context, step, request)(idempotencyKey)
          context.usage(oneCall, null)
          return made
        },
        { final: () => final },
      )
      return answer
    }
    context.text('thinking')
    const first = await round('0.0', { step: step.id, ask: 'first' }, false)
    const tool = { step: step.id, tool: first }
    const result = await context.effect('0.1', 'tool', tool, make(context, step, tool))
    return round('1.0', { step: step.id, ask: 'last', result }, true)
  }
  return { http, agent } as unknown as StepExecutors
}

const oneCall = {
  provider: 'test',
  model: 'test',
  status: 'ok',
  error: null,
  input_tokens: 7,
  cached_input_tokens: null,
  output_tokens: 3,
  reasoning_tokens: null,
  cost_usd: '0.25',
  price: null,
  latency_ms: 1,
  simulated: false,
} as const

/** What must be the same however a run came to its end. */
async function outcomeOf(db: ServiceContext['db'], id: string) {
  const run = await db
    .selectFrom('runs')
    .select(['state', 'output', 'error'])
    .where('id', '=', id)
    .executeTakeFirstOrThrow()
  const steps = await db
    .selectFrom('run_steps')
    // The output of a wait is the instant it ended.
    .select(['path', 'status', sql`case when kind <> 'wait' then output end`.as('output')])
    .where('run_id', '=', id)
    .orderBy('path')
    .execute()
  const { kind = null, step = null } = (run.error ?? {}) as { kind?: string; step?: string }
  return { state: run.state, output: run.output, error: { kind, step }, steps }
}
