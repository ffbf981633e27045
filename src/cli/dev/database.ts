import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import type { Config } from '../../config.ts'
import { migrate } from '../../db/migrate.ts'
import { writeAdminKey } from '../../runtime/node/admin-key-file.ts'
import { lockDataDir } from '../../runtime/node/data-dir-lock.ts'
import { openNodeRuntime } from '../../runtime/node/index.ts'
import { runSeeds } from '../../seeds/index.ts'
import { ensureAdminKey } from '../../services/identity/admin-key.ts'
import { serveEmbedded } from './embedded-server.ts'

export interface WorkerDatabase {
  /** For Hyperdrive, which wants a password also where the server asks for none. */
  url: string
  label: string
  close(): Promise<void>
}

/**
 * The database that a local Worker connects to, with schema, seeds and admin key, as `npm run migrate` leaves it for a
 * deployed one. PostgreSQL where the configuration names it, else the embedded database on a loopback socket.
 */
export async function openWorkerDatabase(config: Config): Promise<WorkerDatabase> {
  await prepare(config)
  if (config.databaseUrl) {
    const url = new URL(config.databaseUrl.reveal())
    url.password ||= 'none'
    return { url: url.href, label: `PostgreSQL at ${url.host}${url.pathname}`, close: async () => {} }
  }
  const folder = join(config.dataDir, 'pglite')
  const lock = lockDataDir(config.dataDir)
  const pglite = await PGlite.create(folder)
  const server = await serveEmbedded(pglite)
  return {
    url: `postgres://dev:dev@127.0.0.1:${server.port}/postgres`,
    label: `embedded PostgreSQL (PGlite) in ${folder}, on 127.0.0.1:${server.port}`,
    async close() {
      await server.close()
      await pglite.close()
      lock.release()
    },
  }
}

async function prepare(config: Config): Promise<void> {
  const runtime = await openNodeRuntime(config)
  try {
    await migrate(runtime.db)
    await runSeeds(runtime)
    await ensureAdminKey(runtime, (key) => writeAdminKey(runtime.dataDir, key))
  } finally {
    await runtime.close()
  }
}
