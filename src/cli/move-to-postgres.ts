import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { parseConfig, type Config } from '../config.ts'
import { copyRows } from '../db/copy-rows.ts'
import { migrate } from '../db/migrate.ts'
import { hasMoveToken } from '../db/move-token.ts'
import { lockDataDir } from '../runtime/node/data-dir-lock.ts'
import { openDataDir } from '../runtime/node/data-dir.ts'
import { openDatabase } from '../runtime/node/database.ts'
import { finishMove, movedFolder, readMove, writeMove } from '../runtime/node/embedded-move.ts'
import { embeddedFolder, openCluster } from '../runtime/node/embedded.ts'
import { readEnvironment } from '../runtime/node/environment.ts'
import { createProcessLog } from '../runtime/node/process-log.ts'
import { reportStartFault } from '../runtime/node/start-faults.ts'
import { StartupError } from '../runtime/node/startup-error.ts'

/** `automatos move-to-postgres`: all rows of the embedded database in DATA_DIR into the empty PostgreSQL of DATABASE_URL. */
try {
  const config = parseConfig(readEnvironment())
  if (!config.databaseUrl) {
    throw new StartupError('DATABASE_URL is not set: it names the empty PostgreSQL database to move to.', undefined, 78)
  }
  const dataDir = openDataDir(config.dataDir)
  const folder = embeddedFolder(dataDir)
  const kept = movedFolder(folder)
  // Until the folder has its other name: who opened it in between would go on with what is in PostgreSQL already.
  const lock = lockDataDir(dataDir)
  try {
    if (!existsSync(folder)) {
      // What a kill just behind the new name left.
      if (existsSync(kept)) await finishMove(folder)
      const hint = existsSync(kept)
        ? ` It was moved before, and is kept in ${kept}.`
        : ' DATA_DIR names another folder.'
      throw new StartupError(`There is no embedded database in ${dataDir}.${hint}`, undefined, 78)
    }
    if (existsSync(kept)) throw new StartupError(`${kept} is in the way: an embedded database was moved before.`)
    await copyTo(config, dataDir, folder)
    // Under its name it would go on where it stands with the next start that names no DATABASE_URL: schedules would fire twice.
    await finishMove(folder)
  } finally {
    lock.release()
  }
  console.log(`The embedded database is kept in ${kept}, for you to delete.`)
  console.log(
    'Start servers with this DATABASE_URL from now on, on the same DATA_DIR: it has the files and the key ring.',
  )
} catch (error) {
  process.exitCode = reportStartFault(error)
}

/** Returns once PostgreSQL has every row, now or since a move that was broken off behind its commit. Both are closed then. */
async function copyTo(config: Config, dataDir: string, folder: string): Promise<void> {
  const before = await readMove(folder)
  // The same as long as the folder cannot be written: then it is the same that was moved.
  const token = before?.token ?? randomUUID()
  const source = await openCluster(folder)
  try {
    const target = await openDatabase(config, dataDir, createProcessLog(config))
    try {
      // Both have the schema of this version then.
      await migrate(source.db)
      await migrate(target.db)
      const counts = await copyRows(source.db, target.db, {
        token,
        beforeCommit: () => writeMove(folder, { token, to: target.label }),
      })
      if (counts) return report(counts, target.label)
      if (before && (await hasMoveToken(target.db, token))) {
        return console.log(`A move that was broken off had brought every row to ${target.label} already.`)
      }
      throw new StartupError(
        `${target.label} holds workspaces already. Name a database that no server has used yet: create another one, or drop and create this one.`,
      )
    } finally {
      await target.close()
    }
  } finally {
    await source.db.destroy()
  }
}

function report(counts: Map<string, number>, label: string): void {
  const filled = [...counts].filter(([, rows]) => rows > 0)
  for (const [table, rows] of filled) console.log(`${table}  ${rows}`)
  const total = filled.reduce((sum, [, rows]) => sum + rows, 0)
  console.log(`${total} rows of ${filled.length} tables are in ${label}.`)
}
