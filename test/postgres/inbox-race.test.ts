import { sql } from 'kysely'
import { afterAll, expect, test } from 'vitest'
import { cancelExecution, retryRun } from '../../src/services/executions.service.ts'
import { requestCancel } from '../../src/services/runs/commands.ts'
import { StepError } from '../../src/services/runs/step-executor.ts'
import { createTestDatabase } from '../support/database.ts'
import { createEngineBench, gate, http, recipe } from '../support/engine.ts'

const database = await createTestDatabase()
afterAll(() => database.close())
const { db } = database

test('a cancel that comes while the failure is being written is over with it: the retry goes on, and can be canceled', async () => {
  const b = await createEngineBench(database)
  const fails = gate()
  b.script('only', ({ count, context }) => {
    if (count === 1)
      return fails.opened.then(() => {
        throw new StepError('upstream', 'down', { retryable: false })
      })
    return new Promise<never>((_, reject) =>
      context.signal.addEventListener('abort', () => reject(context.signal.reason), { once: true }),
    )
  })
  const id = await b.start(recipe([http('only')]))
  const first = b.worker('first')
  await first.claim()
  await expect.poll(() => b.calls.length).toBe(1)
  // The command holds the run's row; the end that its owner writes waits behind it, and reads an inbox from before it.
  await db.transaction().execute(async (tx) => {
    expect(await requestCancel(tx, id, 'enough')).toBe('left-for-owner')
    fails.open()
    const waiting = () =>
      sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`.execute(db)
    await expect.poll(async () => (await waiting()).rows.length).toBe(1)
  })
  await first.idle()
  expect(await b.run(id)).toMatchObject({ state: 'failed' })

  await retryRun(b.ctx, id)
  const second = b.worker('second')
  await second.claim()
  await expect.poll(() => b.calls.length).toBe(2)
  expect(await second.pollInbox()).toBe(0)
  await cancelExecution(b.ctx, id, 'now')
  expect(await second.pollInbox()).toBe(1)
  await second.idle()
  expect(await b.run(id)).toMatchObject({ state: 'canceled', error: { detail: 'now' } })
})
