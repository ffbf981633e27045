import { sql } from 'kysely'
import { afterAll, expect, test } from 'vitest'
import { uuidv7 } from '../../src/lib/ids.ts'
import { deliverNotices } from '../../src/services/notify/failure-notices.ts'
import { StepError } from '../../src/services/runs/step-executor.ts'
import { createTestDatabase } from '../support/database.ts'
import { createEngineBench, http, recipe } from '../support/engine.ts'
import { expectTrueCounters, expectWholeRuns } from '../support/invariants.ts'

// What judges the chaos tests, judged: it sees what it is there to see.

const database = await createTestDatabase()
afterAll(() => database.close())
const { db } = database

test('a notice of a failure that waits, or tells of another end than that of its run, is a fault', async () => {
  const b = await createEngineBench(database)
  b.ctx.egress = async () => new Response(null, { status: 204 })
  b.script('bad', () => {
    throw new StepError('upstream', 'down', { retryable: false })
  })
  const settings = { on_failure: { notify: [{ webhook: { url: 'https://notice.test/' } }] } }
  const id = await b.start(recipe([http('bad')], { settings }))
  const worker = b.worker()
  await worker.claim()
  await worker.idle()
  await expect(expectWholeRuns(db, [id])).rejects.toThrow('have notices of a failure that wait')
  await deliverNotices(b.ctx)
  await expectWholeRuns(db, [id])
  await sql`update failure_notices set state = 'timed_out' where run_id = ${id}`.execute(db)
  await expect(expectWholeRuns(db, [id])).rejects.toThrow('of an end that was not theirs')
})

test('the runs of a workflow are numbered from one on, each once, or it is a fault', async () => {
  const { ctx } = await createEngineBench(database)
  const id = uuidv7()
  const workflow = { id, name: 'Any', goal: 'Any.', approval: 'auto' as const, state: 'failed' as const }
  await db
    .insertInto('workflows')
    .values({ ...workflow, workspace_id: ctx.actor.workspaceId, created_by: 'test' })
    .execute()
  const number = (number: number, run_id = uuidv7()) =>
    db.insertInto('workflow_runs').values({ workflow_id: id, number, run_id }).execute()
  const twice = uuidv7()
  await number(1, twice)
  await number(2)
  await expectTrueCounters(db)
  await number(4)
  await expect(expectTrueCounters(db)).rejects.toThrow('numbered')
  await number(3, twice)
  await expect(expectTrueCounters(db)).rejects.toThrow('numbered')
})
