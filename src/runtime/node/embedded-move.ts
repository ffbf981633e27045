import { existsSync } from 'node:fs'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { StartupError } from './startup-error.ts'
import { syncFile } from './sync-file.ts'

/** A move of the embedded database to PostgreSQL that may have been committed there. */
export interface Move {
  /** What the transaction wrote that copied the rows: where it is found, they are all there. */
  token: string
  /** The target, in words for a person. */
  to: string
}

/** Where `move-to-postgres` leaves an embedded database that it has copied. */
export const movedFolder = (folder: string): string => `${folder}.moved`

/**
 * There from just before the rows are committed until the folder has its other name. Whether PostgreSQL has them cannot be told
 * from here then, and two databases that go on would fire every schedule twice.
 */
export const movingFile = (folder: string): string => `${folder}.moving`

export async function readMove(folder: string): Promise<Move | null> {
  if (!existsSync(movingFile(folder))) return null
  return JSON.parse(await readFile(movingFile(folder), 'utf8')) as Move
}

/** Whole, and on the disk, before it returns. */
export async function writeMove(folder: string, move: Move): Promise<void> {
  const file = movingFile(folder)
  await writeFile(`${file}.new`, `${JSON.stringify(move)}\n`, { mode: 0o600, flush: true })
  await rename(`${file}.new`, file)
  await syncFile(dirname(file))
}

/** The new name first: it refuses a start as well. The caller holds the lock of DATA_DIR and has closed the database. */
export async function finishMove(folder: string): Promise<void> {
  if (existsSync(folder)) await rename(folder, movedFolder(folder))
  await syncFile(dirname(folder))
  await rm(movingFile(folder), { force: true })
}

/** An empty database in its place would come with a first key of its own, over the file of the one that counts. */
export async function refuseMoved(folder: string): Promise<void> {
  const moved = movedFolder(folder)
  if (!existsSync(folder) && existsSync(moved)) {
    throw new StartupError(
      `The embedded database of this folder was moved to PostgreSQL: set DATABASE_URL. To begin with an empty one here, ` +
        `give another DATA_DIR, or move ${moved} away.`,
      undefined,
      78,
    )
  }
  const move = await readMove(folder)
  if (!move) return
  throw new StartupError(
    `The embedded database of this folder is being moved to PostgreSQL, and may be in use there already: run move-to-postgres ` +
      `again to finish that, with the DATABASE_URL of ${move.to}. To stay here instead, drop that database and delete ` +
      `${movingFile(folder)}.`,
    undefined,
    78,
  )
}
