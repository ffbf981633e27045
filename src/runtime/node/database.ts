import { sql, type Kysely } from 'kysely'
import type { Config } from '../../config.ts'
import type { ComponentHealth, Log, Wake } from '../../context.ts'
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
export function openDatabase(config: Config, dataDir: string, log: Log): Promise<OpenedDatabase> {
  return config.databaseUrl ? openServer(config.databaseUrl.reveal(), log) : openInProcess(dataDir, log)
}

async function openServer(url: string, log: Log): Promise<OpenedDatabase> {
  const { db, connect, label } = await openPostgres(url)
  const wake = createListenWake(connect, log)
  return {
    db,
    wake,
    label,
    probes: { database: databaseProbe(db), wake: () => wake.probe() },
    async close() {
      await wake.close()
      await db.destroy()
    },
  }
}

async function openInProcess(dataDir: string, log: Log): Promise<OpenedDatabase> {
  const lock = lockDataDir(dataDir)
  try {
    const { db, label } = await openEmbedded(dataDir, log)
    return {
      db,
      wake: createLocalWake(log),
      label,
      probes: { database: databaseProbe(db), wake: async () => ({ status: 'healthy', detail: 'in process' }) },
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
