import { uuidv7 } from '../src/lib/ids.ts'
import { insertRuns } from '../src/services/runs/create-run.ts'
import { Engine } from '../src/services/runs/engine.ts'
import type { StepContext, StepExecutors } from '../src/services/runs/step-executor.ts'
import { runtimeOn, withDatabase, type BenchDatabase } from './database.ts'
import { median, perSecond, report } from './result.ts'

// What durability costs: runs of three steps that do nothing, every step checkpointed, against the same run written by
// hand in three commits (run with first step, second step, finish with last: a row a run, a row a step, and nothing of
// queue, lease, fence or events), in interleaved rounds on one PostgreSQL.
// Usage: node bench/runs.ts [rounds] [runs a round]
const rounds = Number(process.argv[2] ?? 9)
const perRound = Number(process.argv[3] ?? 500)

await withDatabase(async (database) => {
  await database.client.unsafe(`
    create table hand_runs (id uuid primary key, state text not null, input jsonb not null, output jsonb, finished_at timestamptz);
    create table hand_steps (run_id uuid not null, step text not null, output jsonb, created_at timestamptz not null default now(),
      primary key (run_id, step))`)
  for (const inFlight of [10, 100]) {
    const ratios: number[] = []
    const rates = { engine: [] as number[], hand: [] as number[] }
    // Both grow warm first: code, connections, prepared statements.
    await byHand(database, inFlight, perRound)
    await byEngine(database, inFlight, perRound)
    for (let round = 0; round < rounds; round++) {
      rates.hand.push(await byHand(database, inFlight, perRound))
      rates.engine.push(await byEngine(database, inFlight, perRound))
      ratios.push(rates.engine.at(-1)! / rates.hand.at(-1)!)
    }
    report({
      name: `Durable runs of three steps, ${inFlight} in flight`,
      against: 'the same written by hand in three commits',
      ratio: median(ratios),
      goal: inFlight === 10 ? { atLeast: 0.5 } : null,
      rounds: ratios,
      figures: {
        engine: perSecond(median(rates.engine), 'runs'),
        'by hand': perSecond(median(rates.hand), 'runs'),
      },
    })
  }
})

/** Runs a second. */
async function byEngine({ db, workspaceId }: BenchDatabase, concurrency: number, count: number): Promise<number> {
  const nothing = (_step: never, context: StepContext) =>
    context.effect('0.0', 'http', {}, async () => ({ ok: true }), { final: () => true })
  const request = { method: 'GET', url: 'http://nothing.test' }
  const steps = ['a', 'b', 'c'].map((id) => ({ id, kind: 'http', request }))
  const ids = Array.from({ length: count }, () => uuidv7())
  const engine = new Engine(runtimeOn(db), {
    owner: 'bench',
    concurrency,
    executors: { http: nothing } satisfies StepExecutors,
  })
  const definition = { name: 'Nothing', steps }
  const common = { workspaceId, recipeId: null, recipeVersion: null, definition, trigger: { kind: 'api' }, input: {} }
  const startMs = performance.now()
  // Creating the runs is part of what is measured: by hand it is the first of the three commits.
  await insertRuns(
    db,
    ids.map((id) => ({ ...common, id })),
  )
  await engine.claim()
  await engine.idle()
  const seconds = (performance.now() - startMs) / 1_000
  const done = await db
    .selectFrom('runs')
    .select('id')
    .where('id', 'in', ids)
    .where('state', '=', 'succeeded')
    .execute()
  if (done.length !== count) throw new Error(`${count - done.length} runs have not succeeded.`)
  return count / seconds
}

async function byHand({ client }: BenchDatabase, concurrency: number, count: number): Promise<number> {
  let left = count
  const startMs = performance.now()
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (left-- > 0) {
        const id = uuidv7()
        await client`with run as (insert into hand_runs values (${id}, 'running', '{}'))
          insert into hand_steps values (${id}, 'a', '{"ok":true}')`
        await client`insert into hand_steps values (${id}, 'b', '{"ok":true}')`
        await client`with run as (
            update hand_runs set state = 'succeeded', output = '{"ok":true}', finished_at = now() where id = ${id}
          ) insert into hand_steps values (${id}, 'c', '{"ok":true}')`
      }
    }),
  )
  return count / ((performance.now() - startMs) / 1_000)
}
