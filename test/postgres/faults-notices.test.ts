import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Egress } from '../../src/context.ts'
import { canonicalJson } from '../../src/lib/canonical.ts'
import { deliverNotices } from '../../src/services/notify/failure-notices.ts'
import { recoverRuns } from '../../src/services/runs/claim.ts'
import { StepError } from '../../src/services/runs/step-executor.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { createEngineBench, http, recipe, type EngineBench } from '../support/engine.ts'
import { FaultyLine, type AnyFaultKind } from '../support/faulty-database.ts'
import { expectWholeRuns } from '../support/invariants.ts'
import { atEveryStatement, isCut, metAt, onLine } from './support/every-statement.ts'

// Notices of failures, from before the end that they tell of until they are sent, with a worker that meets a fault at any of
// its statements or is gone behind any answer of a receiver.

let database: TestDatabase
let db: TestDatabase['db']
let b: EngineBench
const sent: { key: string; body: string }[] = []
let onSent: (count: number) => void = () => {}
beforeAll(async () => {
  database = await createTestDatabase()
  db = database.db
  b = await createEngineBench(database)
  const egress: Egress = async (request) => {
    sent.push({
      key: request.headers.get('idempotency-key') ?? '',
      body: canonicalJson((await request.json()) as never),
    })
    onSent(sent.length)
    return new Response(null, { status: 204 })
  }
  b.ctx.egress = egress
  b.script('bad', () => {
    throw new StepError('upstream', 'down', { retryable: false })
  })
})
afterAll(() => database.close())

const url = 'https://notice.test/'
const definition = recipe([http('good'), http('bad')], {
  settings: {
    on_failure: { webhook: { url }, notify: [{ webhook: { url } }, { webhook: { url }, message: 'Again.' }] },
  },
})
const notices = 3

/** One life of a run on the line, then that of a worker that comes behind. Answers the run. */
async function live(line: FaultyLine): Promise<string> {
  sent.length = 0
  await database.shiftClock({ seconds: 0 })
  const id = await b.start(definition)
  const work = async (worker: ReturnType<EngineBench['worker']>, on: TestDatabase['db']) => {
    await worker.claim()
    await worker.idle()
    await deliverNotices({ ...b.ctx, db: on })
  }
  const first = b.worker('first', { db: line.db })
  const isOver = async () => {
    const left = await db.selectFrom('failure_notices').select('delivery').where('run_id', '=', id).execute()
    return left.length === notices && left.every(({ delivery }) => delivery === 'sent')
  }
  for (let turn = 0; turn < 3 && !(await isOver()) && !(await isCut(line)); turn++)
    await onLine(line, () => work(first, line.db))
  const second = b.worker('second')
  for (let turn = 1; turn <= 4 && !(await isOver()); turn++) {
    await database.shiftClock({ seconds: 61 * turn })
    await recoverRuns(db, 10)
    await work(second, db)
  }
  return id
}

/** Delivered at least once each; again only what nobody had noted: of a worker that went all that it had under way, else one. */
async function judge(id: string, mostRepeats: number): Promise<void> {
  await expectWholeRuns(db, [id])
  expect((await b.run(id)).state).toBe('failed')
  expect(new Set(sent.map(({ key }) => key))).toEqual(
    new Set(Array.from({ length: notices }, (_, n) => `${id}/1/~on_failure_failed/${n}.0`)),
  )
  expect(new Set(sent.map(({ key, body }) => `${key} ${body}`)).size).toBe(notices)
  expect(sent.length - notices).toBeLessThanOrEqual(mostRepeats)
}

describe('notices of a failure are delivered, each under its own key', () => {
  test.each(metAt)('whichever statement is %s', { timeout: 60_000 }, async (kind: (typeof metAt)[number]) => {
    const most: Partial<Record<AnyFaultKind, number>> = { unacknowledged: 0, failed: 1 }
    const statements = await atEveryStatement(db, kind, async (line) => judge(await live(line), most[kind] ?? notices))
    // The claim, the checkpoint before the effect, the notices, the end, and each of them claimed, sent and noted.
    expect(statements).toBeGreaterThan(6)
  })

  test('whichever answer of a receiver its worker is gone behind', async () => {
    for (let at = 1; at <= notices; at++) {
      const line = new FaultyLine(db, null)
      onSent = (count) => {
        if (count === at) line.cutNow()
      }
      await judge(await live(line), notices)
      expect(sent.length).toBeGreaterThan(notices)
    }
    onSent = () => {}
  })
})
