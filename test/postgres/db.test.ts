import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import { openDatabase } from '../../src/runtime/node/database.ts'
import { describeDatabase, statusOf } from '../runtime/db.suite.ts'
import { createTestDatabase } from '../support/database.ts'
import { createTestLog } from '../support/log.ts'
import { openRelay } from '../support/relay.ts'

const database = await createTestDatabase()
afterAll(() => database.close())
const open = (url: string) => openDatabase(parseConfig({ DATABASE_URL: url }), '', createTestLog())

describe('port:db adapter:postgres', () => {
  describeDatabase(() => open(database.url!))

  test('its probe is well while the server is, unwell while it is away, and well again by itself', async () => {
    const relay = await openRelay(database.url!)
    const { probes, close } = await open(relay.url)
    onTestFinished(close)
    const status = () => statusOf(probes['database']!)
    expect(await status()).toBe('healthy')
    await relay.cut()
    await expect.poll(status).toBe('unhealthy')
    await relay.restore()
    await expect.poll(status, { timeout: 10_000 }).toBe('healthy')
  })
})
