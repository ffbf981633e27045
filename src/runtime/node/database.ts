import { sql, type Kysely } from 'kysely'
import type { Config } from '../../config.ts'
import type { Clock, ComponentHealth, Log, Wake } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { createLocalWake } from '../local-wake.ts'
import { lockDataDir } from './data-dir-lock.ts'
import { openEmbedded } from './embedded.ts'
import { createListenWake } from './listen-wake.ts'
import { openPostgres } from './postgres.ts'

type Probe = () => Promise<ComponentHealth>

/** The database together with the wake-ups that it makes possible. */
export interface OpenedDatabase {
  db: Kysely<Database>
  wake: Wake
  probes: Record<string, Probe>
  label: string
  close(): Promise<void>
}

/** PostgreSQL where DATABASE_URL names one, else the embedded database in DATA_DIR. */
export function openDatabase(config: Config, dataDir: string, clock: Clock, log: Log): Promise<OpenedDatabase> {
  return config.databaseUrl ? openServer(config.databaseUrl.reveal(), clock, log) : openInProcess(dataDir, clock, log)
}

async function openServer(url: string, clock: Clock, log: Log): Promise<OpenedDatabase> {
  const { db, connect, label } = await openPostgres(url)
  const wake = createListenWake(connect, log)
  return {
    db,
    wake,
    label,
    probes: { database: databaseProbe(db, clock), wake: () => wake.probe() },
    async close() {
      await wake.close()
      await db.destroy()
    },
  }
}

async function openInProcess(dataDir: string, clock: Clock, log: Log): Promise<OpenedDatabase> {
  const lock = lockDataDir(dataDir)
  try {
    const { db, label } = await openEmbedded(dataDir, log)
    return {
      db,
      wake: createLocalWake(log),
      label,
      probes: { database: databaseProbe(db, clock), wake: async () => ({ status: 'healthy', detail: 'in process' }) },
      async close() {
        await db.destroy()
        lock.release()
      },
    }
  } catch (error) {
    lock.release()
    throw error
  }
}

const probeWithinMs = 5_000

function databaseProbe(db: Kysely<Database>, clock: Clock): Probe {
  return async () => {
    const startedAt = clock.monotonicMs()
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('no answer')), probeWithinMs)
    })
    try {
      await Promise.race([sql`select 1`.execute(db), late])
      return { status: 'healthy', latency_ms: Math.round((clock.monotonicMs() - startedAt) * 10) / 10 }
    } catch {
      // The reason may name hosts and users, and /health is public; the log has it.
      return { status: 'unhealthy', detail: 'The database does not answer.', latency_ms: null }
    } finally {
      clearTimeout(timer)
    }
  }
}
