import { readFile } from 'node:fs/promises'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { uuidv7 } from '../../src/lib/ids.ts'
import { insertLedgerRows } from '../../src/services/schedules/ledger.ts'
import { databaseForTest } from '../support/database.ts'
import { createEngineBench } from '../support/engine.ts'

/** The statements that the page on operations gives. */
async function asDocumented(): Promise<string[]> {
  const page = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8')
  const block = /## Tables that grow[\s\S]*?```sql\n([\s\S]*?)```/.exec(page)![1]!
  return block
    .replaceAll(/^--.*$/gm, '')
    .split(';')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '' && statement !== 'begin' && statement !== 'commit')
}

async function partitioned() {
  const { db } = await databaseForTest()
  await db.transaction().execute(async (tx) => {
    for (const statement of await asDocumented()) await sql.raw(statement).execute(tx)
  })
  return db
}

test('a run goes its way, and goes from there, over events that are partitioned as documented', async () => {
  const db = await partitioned()
  const bench = await createEngineBench({ db })
  const id = await bench.start({
    name: 'Two steps',
    steps: ['a', 'b'].map((id) => ({ id, kind: 'http', request: { method: 'GET', url: 'http://nothing.test' } })),
  })
  const worker = bench.worker()
  await worker.claim()
  await worker.idle()
  expect(await bench.run(id)).toMatchObject({ state: 'succeeded' })
  const events = await bench.events(id)
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, n) => n + 1))
  await expect(
    sql`insert into run_events (run_id, seq, type, data) values (${id}, 1, 'again', '{}')`.execute(db),
  ).rejects.toThrow(/unique/)
  await db.deleteFrom('runs').where('id', '=', id).execute()
  expect(await bench.events(id)).toEqual([])
})

test('an event of January stands in the partition of January', async () => {
  const db = await partitioned()
  const id = uuidv7(Date.parse('2027-01-31T23:59:59.999Z'))
  await sql`insert into run_events (run_id, seq, type, data) values (${id}, 1, 'log', '{}')`.execute(db)
  const { rows } = await sql<{ place: string }>`select tableoid::regclass::text as place from run_events`.execute(db)
  expect(rows).toEqual([{ place: 'run_events_2027_01' }])
})

test('a slot is in the ledger once, over slots that are partitioned as documented', async () => {
  const db = await partitioned()
  const bench = await createEngineBench({ db })
  const { workspaceId } = bench.ctx.actor
  const [recipeId, scheduleId] = [uuidv7(), uuidv7()]
  await sql`insert into workflow_recipes (id, workspace_id, slug, name, version)
    values (${recipeId}, ${workspaceId}, 'digest', 'Digest', 1)`.execute(db)
  await sql`insert into schedules (id, workspace_id, recipe_id, name, interval_s, anchor_at, timezone, misfire, overlap, dst)
    values (${scheduleId}, ${workspaceId}, ${recipeId}, 'daily', 86400, app_now(), 'UTC', '{}', 'allow', '{}')`.execute(
    db,
  )
  const fire = (runId: string) => {
    const slot = {
      slotAt: new Date('2027-01-15T08:00:00Z'),
      status: 'fired',
      reason: null,
      late: false,
      slotTo: null,
      count: 1,
    } as const
    return insertLedgerRows(db, [{ ...slot, scheduleId, workspaceId, runId }])
  }
  const [first, second] = [uuidv7(), uuidv7()]
  expect(await fire(first)).toEqual(new Set([first]))
  expect(await fire(second)).toEqual(new Set())
  await db.deleteFrom('schedules').where('id', '=', scheduleId).execute()
  expect(await db.selectFrom('schedule_slots').selectAll().execute()).toEqual([])
})
