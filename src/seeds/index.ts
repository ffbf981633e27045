import { sql } from 'kysely'
import type { Runtime } from '../context.ts'
import { firstWorkspaceSeed } from './0001-first-workspace.seed.ts'
import { systemPromptsSeed } from './0002-system-prompts.seed.ts'
import { modelsSeed } from './0003-models.seed.ts'
import type { Seed } from './seed.ts'

const seeds: readonly Seed[] = [firstWorkspaceSeed, systemPromptsSeed, modelsSeed]

// "seeds" in ASCII.
const lockKey = '495622382707'

/** Brings the data that every installation starts from. Safe to run again and in several processes at once. */
export async function runSeeds(runtime: Runtime, list: readonly Seed[] = seeds): Promise<void> {
  const startedAt = runtime.clock.monotonicMs()
  const runAll = async () => {
    for (const seed of list) await seed.run(runtime)
  }
  // An embedded database belongs to one process and has one connection: whoever held the lock would wait for itself.
  if (runtime.config.databaseUrl) await alone(runtime, runAll)
  else await runAll()
  runtime.log.debug('Seeds are in place', {
    seeds: list.map((seed) => seed.name),
    duration_ms: Math.round(runtime.clock.monotonicMs() - startedAt),
  })
}

/** Seeds have transactions of their own, so the lock is held by one beside them, which no crash can leave behind. */
async function alone({ db }: Runtime, work: () => Promise<void>): Promise<void> {
  await db.transaction().execute(async (tx) => {
    await sql`set local lock_timeout = 0`.execute(tx)
    await sql`set local statement_timeout = 0`.execute(tx)
    await sql`set local idle_in_transaction_session_timeout = 0`.execute(tx)
    await sql`select pg_advisory_xact_lock(${lockKey}::text::bigint)`.execute(tx)
    await work()
  })
}
