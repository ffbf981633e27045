import { parseConfig } from '../config.ts'
import { migrate } from '../db/migrate.ts'
import { readEnvironment } from '../runtime/node/environment.ts'
import { openNodeRuntime } from '../runtime/node/index.ts'
import { reportStartFault } from '../runtime/node/start-faults.ts'
import { runSeeds } from '../seeds/index.ts'
import { ensureAdminKey } from '../services/identity/admin-key.ts'

/** `npm run migrate`: schema and seeds, for deployments whose servers must find them done (Workers above all). */
try {
  const runtime = await openNodeRuntime(parseConfig(readEnvironment()))
  try {
    const applied = await migrate(runtime.db)
    await runSeeds(runtime)
    // Says so where nobody could sign in. The embedded database gets its first key when its server starts.
    if (runtime.config.databaseUrl) await ensureAdminKey(runtime, async () => {})
    console.log(`Database: ${runtime.databaseLabel}`)
    for (const name of applied) console.log(`applied ${name}`)
    console.log(applied.length === 0 ? 'The schema is up to date.' : `${applied.length} migrations applied.`)
    console.log('The seeds are in place.')
  } finally {
    await runtime.close()
  }
} catch (error) {
  process.exitCode = reportStartFault(error)
}
