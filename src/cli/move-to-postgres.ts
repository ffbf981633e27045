import { existsSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { parseConfig } from '../config.ts'
import { copyRows } from '../db/copy-rows.ts'
import { migrate } from '../db/migrate.ts'
import { openDataDir } from '../runtime/node/data-dir.ts'
import { openDatabase } from '../runtime/node/database.ts'
import { movedFolder } from '../runtime/node/embedded.ts'
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
  const folder = join(dataDir, 'pglite')
  const kept = movedFolder(folder)
  if (!existsSync(folder)) {
    const hint = existsSync(kept) ? ` It was moved before, and is kept in ${kept}.` : ' DATA_DIR names another folder.'
    throw new StartupError(`There is no embedded database in ${dataDir}.${hint}`, undefined, 78)
  }
  if (existsSync(kept)) throw new StartupError(`${kept} is in the way: an embedded database was moved before.`)

  const log = createProcessLog(config)
  const source = await openDatabase({ ...config, databaseUrl: null }, dataDir, log)
  try {
    const target = await openDatabase(config, dataDir, log)
    try {
      // Both have the schema of this version then.
      await migrate(source.db)
      await migrate(target.db)
      const counts = await copyRows(source.db, target.db)
      if (!counts) {
        throw new StartupError(
          `${target.label} holds workspaces already. Name a database that no server has used yet: create another one, or drop and create this one.`,
        )
      }
      const filled = [...counts].filter(([, rows]) => rows > 0)
      for (const [table, rows] of filled) console.log(`${table}  ${rows}`)
      const total = filled.reduce((sum, [, rows]) => sum + rows, 0)
      console.log(`${total} rows of ${filled.length} tables are in ${target.label}.`)
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
  // Under its name it would go on where it stands with the next start that names no DATABASE_URL: schedules would fire twice.
  await rename(folder, kept)
  console.log(`The embedded database is kept in ${kept}, for you to delete.`)
  console.log(
    'Start servers with this DATABASE_URL from now on, on the same DATA_DIR: it has the files and the key ring.',
  )
} catch (error) {
  process.exitCode = reportStartFault(error)
}
