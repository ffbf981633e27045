import { Kysely } from 'kysely'
import { PostgresJSDialect } from 'kysely-postgres-js'
import postgres from 'postgres'
import type { Log, Runtime } from '../src/context.ts'
import type { Database } from '../src/db/database.ts'
import { migrate } from '../src/db/migrate.ts'
import { uuidv7 } from '../src/lib/ids.ts'
import { systemClock } from '../src/runtime/clock.ts'
import { createLocalWake } from '../src/runtime/local-wake.ts'
import { createMemoryBlobs } from '../src/runtime/memory-blobs.ts'
import { insertRuns } from '../src/services/runs/create-run.ts'
import { Engine } from '../src/services/runs/engine.ts'
import type { StepContext, StepExecutors } from '../src/services/runs/step-executor.ts'

// What durability costs: runs of three steps that do nothing, every step checkpointed, against the same run written by
// hand in three commits (run with first step, second step, finish with last), in interleaved rounds on one PostgreSQL.
// Usage: node bench/runs.ts [rounds] [runs a round]
const rounds = Number(process.argv[2] ?? 5)
const perRound = Number(process.argv[3] ?? 300)
const inFlight = [10, 100]
const server = process.env['TEST_POSTGRES_URL'] ?? 'postgres://postgres@127.0.0.1:5432/postgres'
const name = `automatos_bench_${process.pid}`

const admin = postgres(server, { max: 1, onnotice: () => {} })
await admin.unsafe(`create database ${name}`)
const url = new URL(server)
url.pathname = `/${name}`
const client = postgres(url.href, { max: 10, onnotice: () => {} })
try {
  const db = new Kysely<Database>({ dialect: new PostgresJSDialect({ postgres: client }) })
  await migrate(db)
  const workspaceId = uuidv7()
  await db.insertInto('workspaces').values({ id: workspaceId, slug: 'bench', name: 'Bench' }).execute()
  await client.unsafe('create table by_hand (id uuid primary key, state text, steps jsonb)')
  for (const concurrency of inFlight) {
    const ratios: number[] = []
    const rates: number[] = []
    await byEngine(db, workspaceId, concurrency, perRound)
    for (let round = 0; round < rounds; round++) {
      const hand = await byHand(concurrency, perRound)
      const engine = await byEngine(db, workspaceId, concurrency, perRound)
      ratios.push(engine / hand)
      rates.push(engine)
    }
    console.log(
      `runs, ${concurrency} in flight: ${median(ratios).toFixed(2)} of three commits by hand, ${Math.round(median(rates))} runs/s ` +
        `(rounds ${ratios.map((ratio) => ratio.toFixed(2)).join(' ')})`,
    )
  }
} finally {
  await client.end({ timeout: 1 })
  await admin.unsafe(`drop database ${name} with (force)`)
  await admin.end()
}

/** Runs a second. */
async function byEngine(
  db: Kysely<Database>,
  workspaceId: string,
  concurrency: number,
  count: number,
): Promise<number> {
  const nothing = (_step: never, context: StepContext) =>
    context.effect('0.0', 'http', {}, async () => ({ ok: true }), { final: () => true })
  const steps = ['a', 'b', 'c'].map((id) => ({
    id,
    kind: 'http',
    request: { method: 'GET', url: 'http://nothing.test' },
  }))
  const ids = Array.from({ length: count }, () => uuidv7())
  const engine = new Engine(runtimeOn(db), {
    owner: 'bench',
    concurrency,
    executors: { http: nothing } satisfies StepExecutors,
  })
  const startMs = performance.now()
  // Creating the runs is part of what is measured: by hand it is the first of the three commits.
  await insertRuns(
    db,
    ids.map((id) => ({
      id,
      workspaceId,
      recipeId: null,
      recipeVersion: null,
      definition: { name: 'Nothing', steps },
      trigger: { kind: 'api' },
      input: {},
    })),
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

async function byHand(concurrency: number, count: number): Promise<number> {
  let left = count
  const startMs = performance.now()
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (left-- > 0) {
        const id = uuidv7()
        await client`insert into by_hand values (${id}, 'running', '[1]')`
        await client`update by_hand set steps = steps || '2' where id = ${id}`
        await client`update by_hand set steps = steps || '3', state = 'succeeded' where id = ${id}`
      }
    }),
  )
  return count / ((performance.now() - startMs) / 1_000)
}

function runtimeOn(db: Kysely<Database>): Runtime {
  const log: Log = { debug() {}, info() {}, warn: console.warn, error: console.error, with: () => log }
  return { db, log, clock: systemClock, wake: createLocalWake(log), blobs: createMemoryBlobs() } as unknown as Runtime
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}
