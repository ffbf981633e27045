import { sql, type Kysely } from 'kysely'
import { expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { writeCheckpoints, type Checkpoint } from '../../src/services/runs/checkpoint.ts'
import { claimRuns, renewLeases, type ClaimedRun } from '../../src/services/runs/claim.ts'
import { insertRuns } from '../../src/services/runs/create-run.ts'
import { databaseForTest } from '../support/database.ts'

const runsInFlight = 5

async function claimedRuns(db: Kysely<Database>): Promise<ClaimedRun[]> {
  const workspaceId = uuidv7()
  await db
    .insertInto('workspaces')
    .values({ id: workspaceId, slug: `w-${workspaceId}`, name: 'W' })
    .execute()
  const run = () => ({
    id: uuidv7(),
    workspaceId,
    recipeId: null,
    recipeVersion: null,
    trigger: { kind: 'api' },
    input: {},
  })
  const definition = { name: 'Nothing', steps: [] }
  await insertRuns(
    db,
    Array.from({ length: runsInFlight }, () => ({ ...run(), definition })),
  )
  return (await claimRuns(db, 'a worker', runsInFlight, null)).runs
}

const checkpointOf = (run: ClaimedRun): Checkpoint => ({
  id: uuidv7(),
  runId: run.id,
  fence: run.fence,
  rev: run.rev,
  steps: [],
  calls: [{ key: '1/a/0.0', kind: 'http', request_hash: null, result: { ok: true } }],
  events: [{ type: 'step.succeeded', data: { path: 'a' }, ms_ago: 0 }],
  usage: [],
  totals: { model_calls: 1 },
  leaving: null,
  waits: [],
  applied: [],
  progress: true,
})

/** What the work updates of `runs`: in all, and without a word to any index. */
async function updatesBy(db: Kysely<Database>, work: (tx: Kysely<Database>) => Promise<unknown>) {
  return db.transaction().execute(async (tx) => {
    const count = async () => {
      const { rows } = await sql<{ all: number; inPlace: number }>`
        select pg_stat_get_xact_tuples_updated('runs'::regclass)::integer as all,
          pg_stat_get_xact_tuples_hot_updated('runs'::regclass)::integer as "inPlace"`.execute(tx)
      return rows[0]!
    }
    const before = await count()
    await work(tx)
    const after = await count()
    return { all: after.all - before.all, inPlace: after.inPlace - before.inPlace }
  })
}

test('the renewal of a lease is an update in place: no index learns of it', async () => {
  const { db } = await databaseForTest()
  const held = (await claimedRuns(db)).map(({ id, fence }) => ({ runId: id, fence }))
  expect(await updatesBy(db, (tx) => renewLeases(tx, held))).toEqual({ all: runsInFlight, inPlace: runsInFlight })
})

test('a checkpoint of a run that goes on is an update in place: no index learns of it', async () => {
  const { db } = await databaseForTest()
  const checkpoints = (await claimedRuns(db)).map(checkpointOf)
  expect(await updatesBy(db, (tx) => writeCheckpoints(tx, checkpoints))).toEqual({
    all: runsInFlight,
    inPlace: runsInFlight,
  })
})
