import { afterAll, expect, test } from 'vitest'
import { jsonb } from '../../src/db/json.ts'
import { createListenWake } from '../../src/runtime/node/listen-wake.ts'
import { openPostgres } from '../../src/runtime/node/postgres.ts'
import { createSupervisor } from '../../src/runtime/supervisor.ts'
import { liveConfig } from '../../src/services/settings/live.ts'
import { settingsService } from '../../src/services/settings/refresh.ts'
import { hear } from '../runtime/wake.suite.ts'
import { createTestDatabase } from '../support/database.ts'
import { createTestLog } from '../support/log.ts'
import { createServiceContext } from '../support/service-context.ts'

const database = await createTestDatabase()
afterAll(() => database.close())

test('a process hears of a change that another has committed, and has it long before it would look', async () => {
  const { connect, db } = await openPostgres(database.url!)
  const wake = createListenWake(connect, createTestLog())
  await wake.listening()
  const runtime = { ...(await createServiceContext({ db: database.engine })), wake, collectors: [], probes: {} }
  const never = () => () => {}
  // No period comes round here: what is due later than at once stays undone.
  const supervisor = createSupervisor(runtime, [settingsService], (ms, callback) => {
    if (ms > 0) return never()
    const timer = setTimeout(callback, 0)
    return () => clearTimeout(timer)
  })
  try {
    const own = hear(wake)
    await database.db
      .insertInto('system_settings')
      .values({ key: 'LLM_MODEL', value: jsonb('the-other-model') })
      .execute()
    await own.until((all) => all.some(({ kind }) => kind === 'settings-changed'))
    await expect.poll(() => liveConfig(runtime.config).llmModel).toBe('the-other-model')
  } finally {
    await supervisor.stop()
    await wake.close()
    await db.destroy()
  }
})
