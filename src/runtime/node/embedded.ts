import { existsSync } from 'node:fs'
import { readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import type { Kysely } from 'kysely'
import type { Log } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import type { OnQuery } from '../tracing/sql-spans.ts'
import { refuseMoved } from './embedded-move.ts'
import { pgliteScopes } from './pglite-dialect.ts'
import { pgliteFiles } from './pglite-files.ts'
import { copyPreparedDatabase, preparedDatabasePath } from './prepared-database.ts'
import { StartupError } from './startup-error.ts'
import { syncFile } from './sync-file.ts'

/** PostgreSQL clears its buffers when it starts: its usual 128 MB cost a tenth of a second and as much memory. */
const startParams = [...PGlite.defaultStartParams, '-c', 'shared_buffers=32MB']

export interface EmbeddedDatabase {
  db: Kysely<Database>
  label: string
}

/** Opens the embedded PostgreSQL (PGlite) in DATA_DIR/pglite. The caller holds the lock of DATA_DIR. */
export async function openEmbedded(
  dataDir: string,
  log: Log,
  preparedPath?: string,
  onQuery?: OnQuery,
): Promise<EmbeddedDatabase> {
  const folder = embeddedFolder(dataDir)
  await refuseMoved(folder)
  if (!existsSync(folder)) await createCluster(folder, log, preparedPath ?? preparedDatabasePath())
  return openCluster(folder, onQuery)
}

export const embeddedFolder = (dataDir: string): string => join(dataDir, 'pglite')

/** The database of a folder that is there, also where it is being moved. */
export async function openCluster(folder: string, onQuery?: OnQuery): Promise<EmbeddedDatabase> {
  let pglite: PGlite
  try {
    pglite = await PGlite.create(folder, { startParams, ...(await pgliteFiles()) })
  } catch (error) {
    throw new StartupError(
      `The embedded database in ${folder} cannot be opened: it is damaged or of another PostgreSQL version ` +
        `(${firstLine(error)}). Restore that folder from a backup, or move it away to begin with an empty one.`,
      error,
    )
  }
  return {
    db: pgliteScopes(pglite, onQuery && { log: onQuery }).engine,
    label: `embedded PostgreSQL (PGlite) in ${folder}`,
  }
}

/** The folder gets its name only once it is whole, so a kill at any moment leaves either no database or a good one. */
async function createCluster(folder: string, log: Log, preparedPath: string): Promise<void> {
  const unfinished = `${folder}.unfinished`
  await rm(unfinished, { recursive: true, force: true })
  if (!(await copyPrepared(preparedPath, unfinished, log))) {
    const pglite = await PGlite.create(unfinished, await pgliteFiles())
    await pglite.close()
  }
  await syncTree(unfinished)
  await rename(unfinished, folder)
  await syncFile(dirname(folder))
}

async function copyPrepared(preparedPath: string, target: string, log: Log): Promise<boolean> {
  if (!existsSync(preparedPath)) {
    log.debug('There is no prepared database for this version; creating one from nothing takes some seconds')
    return false
  }
  try {
    await copyPreparedDatabase(preparedPath, target)
    return true
  } catch (error) {
    log.debug('The prepared database could not be copied; creating one from nothing', { error })
    await rm(target, { recursive: true, force: true })
    return false
  }
}

/** PostgreSQL trusts that files which it has not changed since are on the disk; a power cut must not prove it wrong. */
async function syncTree(folder: string): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  await Promise.all(entries.map((entry) => syncFile(join(entry.parentPath, entry.name))))
  await syncFile(folder)
}

const firstLine = (error: unknown) => String((error as Error)?.message ?? error).split('\n')[0]
