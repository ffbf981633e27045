import { sql, type Kysely } from 'kysely'
import type { Config } from '../../config.ts'
import type { Collector, ComponentHealth, Log, Wake } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { createLocalWake } from '../local-wake.ts'
import { lockDataDir } from './data-dir-lock.ts'
import { openEmbedded } from './embedded.ts'
import { createListenWake } from './listen-wake.ts'
import type { OnQuery } from '../tracing/sql-spans.ts'
import { poolMetrics } from './pool-metrics.ts'
import { openPostgres } from './postgres.ts'

type Probe = () => Promise<ComponentHealth>

/** The database together with the wake-ups that it makes possible. */
export interface OpenedDatabase {
  db: Kysely<Database>
  wake: Wake
  probes: Record<string, Probe>
  collectors: Collector[]
  label: string
  close(): Promise<void>
}

/** PostgreSQL where DATABASE_URL names one, else the embedded database in DATA_DIR. */
export function openDatabase(config: Config, dataDir: string, log: Log, onQuery?: OnQuery): Promise<OpenedDatabase> {
  const url = config.databaseUrl?.reveal()
  return url === undefined ? openInProcess(dataDir, log, onQuery) : openServer(url, log, onQuery)
}

async function openServer(url: string, log: Log, onQuery?: OnQuery): Promise<OpenedDatabase> {
  const { db, connect, label, pool } = await openPostgres(url, onQuery)
  const wake = createListenWake(connect, log)
  return {
    db,
    wake,
    label,
    probes: { database: databaseProbe(db), wake: () => wake.probe() },
    collectors: [() => poolMetrics(pool)],
    async close() {
      await wake.close()
      await db.destroy()
    },
  }
}

async function openInProcess(dataDir: string, log: Log, onQuery?: OnQuery): Promise<OpenedDatabase> {
  const lock = lockDataDir(dataDir)
  try {
    const { db, label } = await openEmbedded(dataDir, log, undefined, onQuery)
    return {
      db,
      wake: createLocalWake(log),
      label,
      probes: { database: databaseProbe(db), wake: async () => ({ status: 'healthy', detail: 'in process' }) },
      collectors: [],
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

/** Whoever asks also times it and gives up on it. */
const databaseProbe =
  (db: Kysely<Database>): Probe =>
  async () => {
    await sql`select 1`.execute(db)
    return { status: 'healthy' }
  }
