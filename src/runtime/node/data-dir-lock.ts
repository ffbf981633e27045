import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { StartupError } from './startup-error.ts'

export interface DataDirLock {
  release(): void
}

/** Keeps every lock reachable: a connection that is garbage collected is closed, and its lock would end with it. */
const heldLocks = new Set<DatabaseSync>()

/**
 * Takes DATA_DIR for this process alone, or says who has it: two processes would destroy an embedded database.
 *
 * The lock is one that the kernel holds for us, so it ends with the process however that ends: no stale file, no
 * process id that another process has taken over, and it also holds between containers that share a volume. SQLite
 * is only the way to it, because it is the one portable lock that Node and Bun both bring; nothing is stored in it.
 * No part of this process may open the file by another way: to close it again would end the lock (fcntl).
 */
export function lockDataDir(dataDir: string): DataDirLock {
  const lockFile = join(dataDir, 'lock')
  const ownerFile = join(dataDir, 'lock-owner.json')
  const lock = openLock(lockFile, dataDir)
  try {
    // Without it the empty transaction leaves a journal file behind when the process is killed.
    lock.exec('pragma journal_mode = memory')
    lock.exec('begin exclusive')
  } catch (error) {
    lock.close()
    if (!isHeld(error)) throw cannotLock(dataDir, error)
    throw new StartupError(
      `The data folder ${dataDir} is in use by ${readOwner(ownerFile)}. ` +
        'Stop that process, or give this one another DATA_DIR, or let both use one PostgreSQL (DATABASE_URL).',
      error,
    )
  }
  heldLocks.add(lock)
  const release = () => {
    // Once only: afterwards the owner file is the next holder's.
    if (!heldLocks.delete(lock)) return
    rmSync(ownerFile, { force: true })
    lock.close()
  }
  try {
    const owner = { pid: process.pid, host: hostname(), since: new Date().toISOString() }
    writeFileSync(ownerFile, `${JSON.stringify(owner)}\n`, { mode: 0o600 })
  } catch (error) {
    release()
    throw cannotLock(dataDir, error)
  }
  return { release }
}

function openLock(file: string, dataDir: string): DatabaseSync {
  try {
    return new DatabaseSync(file)
  } catch (error) {
    if (isHeld(error)) throw new StartupError(`The data folder ${dataDir} is in use by another process.`, error)
    throw cannotLock(dataDir, error)
  }
}

const isHeld = (error: unknown) => /locked|busy/i.test((error as Error).message)

const cannotLock = (dataDir: string, error: unknown) =>
  new StartupError(
    `The data folder ${dataDir} cannot be locked (${(error as Error).message}). ` +
      'Put DATA_DIR on a local disk that this user can write, or use PostgreSQL (DATABASE_URL).',
    error,
  )

/** For the message alone; the lock itself is the truth. */
function readOwner(file: string): string {
  try {
    const owner = JSON.parse(readFileSync(file, 'utf8')) as { pid: number; host: string; since: string }
    return `process ${owner.pid} on ${owner.host} (since ${owner.since})`
  } catch {
    return 'another process'
  }
}
