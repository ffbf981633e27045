import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { uuidv7 } from '../../src/lib/ids.ts'
import { insertRuns } from '../../src/services/runs/create-run.ts'
import { databaseForTest, type TestDatabase } from '../support/database.ts'

async function twoRuns({ db }: TestDatabase) {
  const workspaceId = uuidv7()
  await db
    .insertInto('workspaces')
    .values({ id: workspaceId, slug: `w-${workspaceId}`, name: 'W' })
    .execute()
  const ids = [uuidv7(), uuidv7()]
  const common = { workspaceId, recipeId: null, recipeVersion: null, trigger: { kind: 'api' }, input: {} }
  await insertRuns(
    db,
    ids.map((id) => ({ ...common, id, definition: { name: 'Nothing', steps: [] } })),
  )
  await sql`insert into run_steps (run_id, path, parent, ordinal, step_id, kind, status)
    select id, 'a', '', 1, 'a', 'http', 'succeeded' from runs`.execute(db)
  await sql`insert into run_calls (run_id, key, kind) select id, '1/a/0', 'http' from runs`.execute(db)
  return { workspaceId, ids }
}

async function childrenOf({ db }: TestDatabase, table: 'run_steps' | 'run_calls' | 'run_events') {
  const rows = await db.selectFrom(table).select('run_id').distinct().orderBy('run_id').execute()
  return rows.map((row) => row.run_id)
}
const tables = ['run_steps', 'run_calls', 'run_events'] as const

test('a deleted run takes its steps, calls and events along, and no other run’s', async () => {
  const database = await databaseForTest()
  const { ids } = await twoRuns(database)
  await database.db.deleteFrom('runs').where('id', '=', ids[0]!).execute()
  for (const table of tables) expect(await childrenOf(database, table)).toEqual([ids[1]])
})

test('a deleted workspace leaves nothing of its runs', async () => {
  const database = await databaseForTest()
  const { workspaceId } = await twoRuns(database)
  await database.db.deleteFrom('workspaces').where('id', '=', workspaceId).execute()
  for (const table of tables) expect(await childrenOf(database, table)).toEqual([])
})
