import { createHash } from 'node:crypto'
import {
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { migrate } from '../../db/migrate.ts'
import { migrations } from '../../db/migrations/index.ts'
import { packageRoot } from './package-root.ts'
import { pgliteScopes } from './pglite-dialect.ts'

const home = join(packageRoot, 'dist')
const emptyFoldersFile = 'empty-folders.json'

/**
 * Where the prepared database of exactly this PGlite and this schema is kept: a folder that a first start copies, in
 * a tenth of a second, in place of creating a PostgreSQL cluster from nothing, which takes many seconds. (PGlite's
 * own archive of 5 MB instead of 40 takes seconds to unpack.)
 */
export function preparedDatabasePath(): string {
  const key = createHash('sha256')
    .update(emptyFoldersFile)
    .update(pgliteVersion())
    .update(JSON.stringify(migrations))
    .digest('hex')
    .slice(0, 16)
  return join(home, `database-${key}`)
}

/** Copies a prepared database. The archives of packages hold no empty folders, and PostgreSQL needs some. */
export async function copyPreparedDatabase(from: string, to: string): Promise<void> {
  // A thousand small files: one call at a time is several times faster than promises.
  cpSync(from, to, { recursive: true, mode: constants.COPYFILE_FICLONE })
  const list = join(to, emptyFoldersFile)
  for (const folder of JSON.parse(await readFile(list, 'utf8')) as string[]) {
    await mkdir(join(to, folder), { recursive: true })
  }
  await rm(list)
}

function pgliteVersion(): string {
  // The package does not export its package.json; its entry lies in dist/.
  const manifest = new URL('../package.json', import.meta.resolve('@electric-sql/pglite'))
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version
}

/** Makes the prepared database unless it is there, and removes those of other versions. Returns whether it was made. */
export async function prepareDatabase(
  path = preparedDatabasePath(),
  make: (folder: string) => Promise<void> = makeMigrated,
): Promise<boolean> {
  if (existsSync(path)) return false
  const folder = dirname(path)
  mkdirSync(folder, { recursive: true })
  const old = readdirSync(folder).filter((name) => /^database-[0-9a-f]{16}$/.test(name))

  const unfinished = `${path}.${process.pid}.unfinished`
  try {
    await make(unfinished)
    writeFileSync(join(unfinished, emptyFoldersFile), JSON.stringify(emptyFolders(unfinished)))
    renameSync(unfinished, path)
  } catch (error) {
    // Another process may have made it meanwhile.
    if (!existsSync(path)) throw error
  } finally {
    rmSync(unfinished, { recursive: true, force: true })
  }
  for (const name of old) if (name !== basename(path)) rmSync(join(folder, name), { recursive: true, force: true })
  return true
}

async function makeMigrated(folder: string): Promise<void> {
  const pglite = await PGlite.create(folder)
  const { login } = pgliteScopes(pglite)
  await migrate(login)
  await login.destroy()
}

const emptyFolders = (root: string) =>
  readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory() && readdirSync(join(entry.parentPath, entry.name)).length === 0)
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
