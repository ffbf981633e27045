import { sql } from 'kysely'
import type { Runtime, ServiceContext } from '../../src/context.ts'
import { createLocalWake } from '../../src/runtime/local-wake.ts'
import { createMemoryBlobs } from '../../src/runtime/memory-blobs.ts'
import type { RecipeDefinition } from '../../src/services/recipes/definition.ts'
import { Engine } from '../../src/services/runs/engine.ts'
import { startRun } from '../../src/services/runs/start-run.ts'
import type { StepContext, StepExecutors } from '../../src/services/runs/step-executor.ts'
import type { Json } from '../../src/lib/json.ts'
import { createServiceContext } from './service-context.ts'

/** A migrated database that the suite may do with as it likes, its clock included. */
export interface EngineDatabase {
  db: ServiceContext['db']
  /** As the engine has it; where it is missing, it has it as `db`. */
  engine?: ServiceContext['db']
  shiftClock(offset: { seconds: number }): Promise<void>
  close(): Promise<void>
}

/** What a scripted effect does; the key is what it would send as Idempotency-Key. */
export type Script = (call: {
  key: string
  step: { id: string }
  context: StepContext
  count: number
}) => Promise<Json> | Json

export interface EngineBench {
  ctx: ServiceContext
  /** Another worker on the same database, as a second process would be. */
  worker(name?: string, options?: { concurrency?: number; platform?: Runtime['platform']; db?: Runtime['db'] }): Engine
  /** Every effect that was made, in order. */
  calls: { key: string; step: string }[]
  script(stepId: string, script: Script): void
  start(definition: RecipeDefinition, input?: Json): Promise<string>
  run(id: string): Promise<{ state: string; output: Json; error: Json; fence: number; last_seq: number }>
  steps(id: string): Promise<Record<string, { status: string; output: Json; attempts: number; error: Json }>>
  events(id: string): Promise<{ seq: number; type: string }[]>
}

/** An engine whose `http` steps are scripted effects, so that tests decide when an effect answers, fails or hangs. */
export async function createEngineBench(database: Pick<EngineDatabase, 'db' | 'engine'>): Promise<EngineBench> {
  const ctx = await createServiceContext(database)
  ctx.blobs = createMemoryBlobs()
  ctx.wake = createLocalWake(ctx.log)
  const scripts = new Map<string, Script>()
  const calls: { key: string; step: string }[] = []
  const scripted = async (step: { id: string }, context: StepContext): Promise<Json> =>
    context.effect(
      '0.0',
      'http',
      { step: step.id },
      async (key) => {
        calls.push({ key, step: step.id })
        const count = calls.filter((call) => call.step === step.id).length
        return (await scripts.get(step.id)?.({ key, step, context, count })) ?? { ok: true }
      },
      { final: () => true },
    )
  const executors = { http: scripted, llm: scripted, agent: scripted } as unknown as StepExecutors
  const { db } = database
  return {
    ctx,
    calls,
    worker: (name = 'worker', options = {}) =>
      // Its own object, so that each worker is a process of its own to the event hub and the engine.
      new Engine(
        { ...ctx, platform: options.platform ?? ctx.platform, db: options.db ?? database.engine ?? ctx.db },
        { owner: name, concurrency: options.concurrency ?? 50, executors },
      ),
    script: (stepId, script) => void scripts.set(stepId, script),
    async start(definition, input = {}) {
      const { id } = await startRun(ctx, { definition, trigger: { kind: 'api' }, input })
      return id
    },
    async run(id) {
      return db
        .selectFrom('runs')
        .select(['state', 'output', 'error', 'fence', 'last_seq'])
        .where('id', '=', id)
        .executeTakeFirstOrThrow()
    },
    async steps(id) {
      const rows = await db
        .selectFrom('run_steps')
        .select(['path', 'status', 'output', 'attempts', 'error'])
        .where('run_id', '=', id)
        .orderBy('path')
        .execute()
      return Object.fromEntries(rows.map(({ path, ...rest }) => [path, rest]))
    },
    async events(id) {
      const { rows } = await sql<{ seq: number; type: string }>`
        select seq, type from run_events where run_id = ${id} order by seq`.execute(db)
      return rows
    },
  }
}

/** A promise that a test settles. */
export function gate<T = void>() {
  let open!: (value: T) => void
  const opened = new Promise<T>((resolve) => (open = resolve))
  return { open, opened }
}

export const recipe = (steps: unknown[], rest: object = {}): RecipeDefinition =>
  ({ name: 'Test', steps, ...rest }) as unknown as RecipeDefinition

export const http = (id: string, rest: object = {}) => ({
  id,
  kind: 'http',
  request: { method: 'POST', url: 'http://effect.test/' },
  ...rest,
})
