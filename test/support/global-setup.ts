import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { Kysely, PGliteDialect } from 'kysely'
import type { TestProject } from 'vitest/node'
import type { Database } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'

/** Makes one migrated PGlite for the whole run; every test file starts from a copy. */
export default async function setup(project: TestProject) {
  const folder = await mkdtemp(join(tmpdir(), 'automatos-test-'))
  const pglite = await PGlite.create()
  const db = new Kysely<Database>({ dialect: new PGliteDialect({ pglite }) })
  await migrate(db)
  const dump = join(folder, 'pglite.tar')
  await writeFile(dump, new Uint8Array(await (await pglite.dumpDataDir('none')).arrayBuffer()))
  await pglite.close()
  project.provide('pgliteDump', dump)
  project.provide('postgresUrl', undefined)
  return () => rm(folder, { recursive: true, force: true })
}
