import { beforeAll, expect, test } from 'vitest'
import { prepareDatabase } from '../../src/runtime/node/prepared-database.ts'
import { folderForTest } from '../support/folder.ts'
import { runtimes, startProcess } from '../support/process.ts'

const patience = { timeout: 120_000 }
beforeAll(async () => {
  await prepareDatabase()
}, patience.timeout)

const migrate = (env: Record<string, string>) =>
  startProcess(runtimes.node, ['src/cli/launch.js', 'src/cli/migrate.ts'], env)

test('says which database it brought up to date, and may run again', patience, async () => {
  const dataDir = await folderForTest()
  for (let i = 0; i < 2; i++) {
    const run = migrate({ DATA_DIR: dataDir })
    expect(await run.ended).toBe(0)
    expect(run.stdout()).toContain(`Database: embedded PostgreSQL (PGlite) in ${dataDir}`)
    expect(run.stdout()).toContain('The schema is up to date.')
  }
})

test('ends with a line and a code when the configuration is wrong', patience, async () => {
  const run = migrate({ DATA_DIR: await folderForTest(), DATABASE_URL: 'mysql://example' })
  expect(await run.ended).toBe(78)
  expect(run.stderr()).toContain('DATABASE_URL expects')
})
