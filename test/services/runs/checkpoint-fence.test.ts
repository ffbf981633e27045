import { afterAll, beforeAll, expect, test } from 'vitest'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { retryRun } from '../../../src/services/executions.service.ts'
import { writeCheckpoints, type Checkpoint } from '../../../src/services/runs/checkpoint.ts'
import { requestCancel } from '../../../src/services/runs/commands.ts'
import { requestPause } from '../../../src/services/runs/pause.ts'
import { claimRuns, recoverRuns, renewLeases, type ClaimedRun } from '../../../src/services/runs/claim.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { createEngineBench, http, recipe, type EngineBench } from '../../support/engine.ts'

// What one statement of a worker may write, whatever the worker believes.

let database: TestDatabase
let db: TestDatabase['db']
let b: EngineBench
beforeAll(async () => {
  database = await createTestDatabase()
  db = database.db
  b = await createEngineBench(database)
})
afterAll(() => database.close())

const definition = recipe([http('only')])

async function claimed(owner: string): Promise<ClaimedRun> {
  const { runs } = await claimRuns(db, owner, 10, null)
  expect(runs).toHaveLength(1)
  return runs[0]!
}

const checkpoint = ({ id, fence, rev }: ClaimedRun, rest: Partial<Checkpoint> = {}): Checkpoint => ({
  id: uuidv7(),
  runId: id,
  fence,
  rev,
  steps: [],
  calls: [],
  events: [{ type: 'log', data: { owner: fence }, ms_ago: 0 }],
  usage: [],
  totals: null,
  leaving: null,
  waits: [],
  applied: [],
  progress: false,
  ...rest,
})
const end = { leaving: { state: 'succeeded', output: 'mine', error: null } } as const
const callsOf = (id: string) => db.selectFrom('run_calls').select(['key', 'result']).where('run_id', '=', id).execute()
const later = async (seconds: number) => {
  await database.shiftClock({ seconds })
  await recoverRuns(db, 10)
}

test('an owner that has lost its run writes nothing, also before its successor has written a word', async () => {
  const id = await b.start(definition)
  const first = await claimed('first')
  await later(31)
  const second = await claimed('second')
  // Neither has written: both are at the same revision, and only the fence tells them apart.
  expect([second.id, second.rev]).toEqual([first.id, first.rev])
  for (const late of [checkpoint(first), checkpoint(first, end)])
    expect(await writeCheckpoints(db, [late])).toEqual(new Map())
  expect((await b.events(id)).map(({ type }) => type)).toEqual(['execution.queued', 'execution.recovered'])
  expect((await writeCheckpoints(db, [checkpoint(second, end)])).get(id)).toMatchObject({ state: 'succeeded' })
  await database.shiftClock({ seconds: 0 })
})

test('a result that is recorded stays, whatever is written under its key afterwards', async () => {
  const id = await b.start(definition)
  const run = await claimed('first')
  const call = (result?: string) => ({
    key: '1/only/0.0',
    kind: 'http' as const,
    request_hash: null,
    ...(result !== undefined && { result }),
  })
  const write = (rev: number, ...given: [string?]) =>
    writeCheckpoints(db, [checkpoint({ ...run, rev }, { calls: [call(...given)] })])
  await write(run.rev)
  expect(await callsOf(id)).toEqual([{ key: '1/only/0.0', result: null }])
  await write(run.rev + 1, 'first')
  await write(run.rev + 2, 'other')
  await write(run.rev + 3)
  expect(await callsOf(id)).toEqual([{ key: '1/only/0.0', result: 'first' }])
  await writeCheckpoints(db, [checkpoint({ ...run, rev: run.rev + 4 }, end)])
})

test('a renewal confirms only the leases of those who have them', async () => {
  const id = await b.start(definition)
  const first = await claimed('first')
  const held = (run: ClaimedRun) => [{ runId: run.id, fence: run.fence }]
  expect([...(await renewLeases(db, held(first))).keys()]).toEqual([id])
  await later(31)
  const second = await claimed('second')
  // Whoever takes this for a confirmation goes on with the effects of another's run.
  expect(await renewLeases(db, held(first))).toEqual(new Map())
  expect([...(await renewLeases(db, held(second))).keys()]).toEqual([id])
  await writeCheckpoints(db, [checkpoint(second, end)])
  await database.shiftClock({ seconds: 0 })
})

test('a run under a lease that lasts is not given back to the queue, however often somebody looks', async () => {
  const id = await b.start(definition)
  const run = await claimed('first')
  await later(29)
  expect(await b.run(id)).toMatchObject({ state: 'running', fence: run.fence })
  await renewLeases(db, [{ runId: id, fence: run.fence }])
  await later(58)
  expect(await b.run(id)).toMatchObject({ state: 'running', fence: run.fence })
  await later(61)
  expect(await b.run(id)).toMatchObject({ state: 'queued', fence: run.fence + 1 })
  await writeCheckpoints(db, [checkpoint(await claimed('second'), end)])
  await database.shiftClock({ seconds: 0 })
})

test.each(['succeeded', 'failed', 'canceled', 'timed_out', 'paused'] as const)(
  'a run that is %s is claimed by nobody, though a place in the queue was left behind',
  async (state) => {
    const id = await b.start(definition)
    await db.updateTable('runs').set({ state }).where('id', '=', id).execute()
    expect((await claimRuns(db, 'any', 10, null)).runs).toEqual([])
    expect(await b.run(id)).toMatchObject({ state, fence: 0 })
    await db.deleteFrom('run_queue').where('run_id', '=', id).execute()
  },
)

test('a retry counts its recoveries anew', async () => {
  const id = await b.start(definition)
  const run = await claimed('first')
  await writeCheckpoints(db, [
    checkpoint(run, { leaving: { state: 'failed', output: null, error: { kind: 'crash_loop' } } }),
  ])
  await db.updateTable('runs').set({ recoveries: 6 }).where('id', '=', id).execute()
  await retryRun(b.ctx, id)
  const again = await claimed('second')
  expect(again).toMatchObject({ id, generation: 2, recoveries: 0 })
  await writeCheckpoints(db, [checkpoint(again, end)])
})

test('a pause does not overtake a cancel that its owner has not read yet', async () => {
  const id = await b.start(definition)
  const run = await claimed('first')
  await db.transaction().execute(async (tx) => {
    expect(await requestCancel(tx, id, 'enough')).toBe('left-for-owner')
    expect(await requestPause(tx, id, null)).toBe('refused')
  })
  await writeCheckpoints(db, [checkpoint(run, end)])
})
