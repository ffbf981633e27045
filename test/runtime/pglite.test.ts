import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import { migrate } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/runtime/node/database.ts'
import { prepareDatabase } from '../../src/runtime/node/prepared-database.ts'
import { folderForTest, type AtEnd } from '../support/folder.ts'
import { createTestLog } from '../support/log.ts'
import { describeDatabase, statusOf } from './db.suite.ts'

await prepareDatabase()
const ends: (() => Promise<void>)[] = []
afterAll(() => Promise.all(ends.map((end) => end())))

async function open(atEnd: AtEnd = (end) => void ends.push(end)) {
  const opened = await openDatabase(parseConfig({}), await folderForTest(atEnd), createTestLog())
  await migrate(opened.db)
  return opened
}

describe('port:db adapter:pglite', () => {
  describeDatabase(() => open())

  test('its probe is well while it is open, and unwell when it is closed', async () => {
    const { probes, close } = await open(onTestFinished)
    expect(await statusOf(probes['database']!)).toBe('healthy')
    await close()
    expect(await statusOf(probes['database']!)).toBe('unhealthy')
  })
})
