import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import type { TestProject } from 'vitest/node'
import { migrate } from '../../src/db/migrate.ts'
import { pgliteScopes } from '../../src/runtime/node/pglite-dialect.ts'

/** Makes one migrated PGlite for the whole run; every test file starts from a copy. */
export default async function setup(project: TestProject) {
  const folder = await mkdtemp(join(tmpdir(), 'automatos-test-'))
  const pglite = await PGlite.create()
  await migrate(pgliteScopes(pglite).login)
  const dump = join(folder, 'pglite.tar')
  await writeFile(dump, new Uint8Array(await (await pglite.dumpDataDir('none')).arrayBuffer()))
  await pglite.close()
  project.provide('pgliteDump', dump)
  project.provide('postgresUrl', undefined)
  project.provide('postgresTemplate', undefined)
  return () => rm(folder, { recursive: true, force: true })
}
