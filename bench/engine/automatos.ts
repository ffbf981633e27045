import { sql } from 'kysely'
import type { BackgroundService, Runtime } from '../../src/context.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { Measures } from '../../src/lib/metrics/measures.ts'
import { createSupervisor } from '../../src/runtime/supervisor.ts'
import { nextWakeInMs, recoverRuns, wakeDueRuns } from '../../src/services/runs/claim.ts'
import { insertRuns, type NewRun } from '../../src/services/runs/create-run.ts'
import { Engine } from '../../src/services/runs/engine.ts'
import type { StepContext, StepExecutors } from '../../src/services/runs/step-executor.ts'
import { openDatabase, prepare, runtimeOn } from '../database.ts'
import { inLanes, serve, type Contender, type Place, type Work } from './contender.ts'
import { Ends } from './ends.ts'

// The engine with the services that go with it in a process: wake-ups, leases, inbox, recovery.

const step = (id: string) => ({ id, kind: 'http', request: { method: 'GET', url: 'http://nothing.test' } })
const definitions = {
  run: { name: 'Three steps', steps: ['a', 'b', 'c'].map(step) },
  job: { name: 'One step', steps: [step('a')] },
}
/** Of a kind that has an effect: its result is recorded before the next step begins. */
const executors = {
  http: (_step: never, context: StepContext) =>
    context.effect('0.0', 'http', {}, async () => ({ ok: true }), { final: () => true }),
} satisfies StepExecutors

await serve(async ({ url, inFlight, connections, finished }: Place): Promise<Contender> => {
  const db = openDatabase(url, connections)
  const workspaceId = await prepare(db)
  const ends = new Ends(async (ids) => {
    const { rows } = await sql<{ id: string }>`
      select id from runs where id = any(${ids}::uuid[]) and finished_at is not null`.execute(db)
    return rows.map((row) => row.id)
  })
  const measures = countingEnds((count) => {
    finished(count)
    ends.look()
  })
  const runtime: Runtime = { ...runtimeOn(db), probes: {}, measures }
  const engine = new Engine(runtime, { owner: String(process.pid), concurrency: inFlight, executors })
  const supervisor = createSupervisor(runtime, services(engine))

  const newRun = (work: Work): NewRun => ({
    id: uuidv7(),
    workspaceId,
    recipeId: null,
    recipeVersion: null,
    definition: definitions[work],
    trigger: { kind: 'api' },
    input: {},
  })
  const insert = async (runs: NewRun[]) => {
    await insertRuns(db, runs)
    runtime.wake.runReady(runs[0]!.id)
  }
  return {
    start: (work, count) =>
      work === 'job'
        ? insert(Array.from({ length: count }, () => newRun('job')))
        : inLanes(count, inFlight, async () => {
            const run = newRun('run')
            const ended = ends.of(run.id)
            await insert([run])
            await ended
          }),
    async close() {
      await supervisor.stop()
      await engine.idle()
      await db.destroy()
    },
  }
})

function countingEnds(finished: (count: number) => void): Measures {
  const measures = new Measures()
  const counter = measures.runsFinished
  const add = counter.add.bind(counter)
  counter.add = (by, ...labels) => {
    add(by, ...labels)
    finished(by)
  }
  return measures
}

/** As `services/runs/services.ts` has them, about an engine with executors of its own. */
function services(engine: Engine): BackgroundService[] {
  const batch = 500
  const report = async (done: Promise<number>) => ({ done: await done, more: false })
  return [
    {
      name: 'runs',
      periodMs: 1_000,
      wakeOn: ['run-ready'],
      async tick({ db }) {
        const woken = await wakeDueRuns(db, batch)
        const done = await engine.claim()
        const nextInMs = await nextWakeInMs(db)
        return { done, more: woken === batch, ...(nextInMs === null ? {} : { nextInMs }) }
      },
    },
    { name: 'leases', periodMs: 10_000, tick: () => report(engine.renew()) },
    { name: 'inbox', periodMs: 1_000, tick: () => report(engine.pollInbox()) },
    { name: 'recovery', periodMs: 5_000, tick: ({ db }) => report(recoverRuns(db, batch)) },
  ]
}
