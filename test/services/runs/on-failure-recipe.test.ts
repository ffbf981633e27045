import { sql } from 'kysely'
import { afterAll, expect, test } from 'vitest'
import { jsonb } from '../../../src/db/json.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import type { JsonObject } from '../../../src/lib/json.ts'
import { StepError } from '../../../src/services/runs/step-executor.ts'
import { startRun } from '../../../src/services/runs/start-run.ts'
import { recoverRuns } from '../../../src/services/runs/claim.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createEngineBench, http, recipe, type EngineBench } from '../../support/engine.ts'
import { FaultyLine } from '../../support/faulty-database.ts'

const database = await createTestDatabase()
afterAll(() => database.close())
const { db } = database

async function bench(): Promise<EngineBench> {
  await database.shiftClock({ seconds: 0 })
  const b = await createEngineBench(database)
  b.script('bad', () => {
    throw new StepError('upstream', 'down', { retryable: false })
  })
  return b
}

async function stored(b: EngineBench, slug: string, definition: JsonObject): Promise<string> {
  const id = uuidv7()
  const workspace_id = b.ctx.actor.workspaceId
  await db.insertInto('workflow_recipes').values({ id, workspace_id, slug, name: slug, version: 1 }).execute()
  await db
    .insertInto('recipe_versions')
    .values({ recipe_id: id, workspace_id, version: 1, hash: slug, definition: jsonb({ name: slug, ...definition }) })
    .execute()
  return id
}

const failing = (onFailure: object) => recipe([http('bad')], { name: 'Failing', settings: { on_failure: onFailure } })
const noting = { steps: [{ id: 'note', kind: 'transform', value: { $expr: 'input.execution.error.detail' } }] }

async function work(b: EngineBench, worker = b.worker()) {
  for (let pass = 0; pass < 5; pass++) {
    await worker.claim()
    await worker.idle()
  }
}
const runsOf = (recipeId: string) =>
  db.selectFrom('runs').selectAll().where('recipe_id', '=', recipeId).orderBy('id').execute()
const logOf = async (runId: string) => {
  const { rows } = await sql<{ message: string }>`
    select data ->> 'message' as message from run_events where run_id = ${runId} and type = 'log' order by seq`.execute(
    db,
  )
  return rows.map((row) => row.message)
}

test('a run that fails starts the recipe that its settings name, with itself as input', async () => {
  const b = await bench()
  const handler = await stored(b, 'clean-up', noting)
  const id = await b.start(failing({ recipe: 'clean-up' }), { order: 7 })
  await work(b)
  const [run, ...others] = await runsOf(handler)
  expect(others).toEqual([])
  expect(run).toMatchObject({
    state: 'succeeded',
    output: 'down',
    trigger: { kind: 'on_failure', execution_id: id, generation: 1 },
    input: {
      event: 'execution.failed',
      execution: {
        id,
        status: 'failed',
        error: { kind: 'upstream', detail: 'down', step: 'bad' },
        input: { order: 7 },
      },
    },
  })
  expect(await logOf(id)).toContain('Recipe clean-up was started on failure.')
  expect(await b.run(id)).toMatchObject({ state: 'failed' })
})

test('one that succeeds starts nothing', async () => {
  const b = await bench()
  const handler = await stored(b, 'clean-up', noting)
  await b.start(recipe([http('good')], { settings: { on_failure: { recipe: 'clean-up' } } }))
  await work(b)
  expect(await runsOf(handler)).toEqual([])
})

test('a worker that dies between the start and its last checkpoint makes no second one', async () => {
  const b = await bench()
  const handler = await stored(b, 'clean-up', noting)
  const id = await b.start(failing({ recipe: 'clean-up', webhook: { url: 'https://notice.test/' } }))
  // The notice is written after the recipe has started and before the checkpoint: there the first worker is cut off.
  const line = new FaultyLine(db, null)
  line.refuses = ({ sql: text }) => {
    if (text.includes('insert into failure_notices')) line.cutNow()
    return false
  }
  await b.worker('first', { db: line.db }).claim()
  await line.cut
  await database.shiftClock({ seconds: 31 })
  await recoverRuns(db, 10)
  expect(await b.run(id)).toMatchObject({ state: 'queued' })
  expect(await runsOf(handler)).toHaveLength(1)
  // Gone through again, the failure may look a little different.
  await db.updateTable('runs').set({ request_hash: 'of other input' }).where('recipe_id', '=', handler).execute()
  await work(b, b.worker('second'))
  expect(await b.run(id)).toMatchObject({ state: 'failed' })
  expect(await runsOf(handler)).toHaveLength(1)
  expect((await logOf(id)).filter((message) => message.includes('could not be started'))).toEqual([])
})

test('recipes that handle each other, or themselves, come to an end', async () => {
  const b = await bench()
  const definition = (next: string) => ({
    steps: [{ id: 'no', kind: 'fail', message: 'No.' }],
    settings: { on_failure: { recipe: next } },
  })
  const ping = await stored(b, 'ping', definition('pong'))
  const pong = await stored(b, 'pong', definition('ping'))
  const self = await stored(b, 'self', definition('self'))
  await b.start(recipe([http('bad')], { settings: { on_failure: { recipe: 'ping' } } }))
  await b.start(recipe([http('bad')], { settings: { on_failure: { recipe: 'self' } } }))
  await work(b)
  expect((await runsOf(ping)).map((run) => run.state)).toEqual(['failed'])
  expect(await runsOf(pong)).toEqual([])
  expect((await runsOf(self)).map((run) => run.state)).toEqual(['failed'])
  const [last] = await runsOf(ping)
  expect(await logOf(last!.id)).toContain('No recipe is started on failure: this run was started on one itself.')
})

test('neither does a child of such a run start one', async () => {
  const b = await bench()
  const handler = await stored(b, 'clean-up', noting)
  const parent = await startRun(b.ctx, {
    definition: recipe([{ id: 'wait', kind: 'wait', duration: '1h' }]),
    trigger: { kind: 'on_failure', execution_id: uuidv7() },
    input: {},
  })
  const child = await b.start(failing({ recipe: 'clean-up' }))
  await db.updateTable('runs').set({ parent_run_id: parent.id }).where('id', '=', child).execute()
  await work(b)
  expect(await b.run(child)).toMatchObject({ state: 'failed' })
  expect(await runsOf(handler)).toEqual([])
})

test.each([
  ['a recipe that is not there', {}, 'nobody', 'There is no recipe nobody'],
  [
    'one whose inputs ask for something else',
    { inputs: { type: 'object', required: ['order'] } },
    'strict',
    'could not be started',
  ],
])('%s is told in the log and changes nothing about the outcome', async (_what, definition, named, message) => {
  const b = await bench()
  await stored(b, 'strict', { ...noting, ...definition })
  const id = await b.start(failing({ recipe: named }))
  await work(b)
  expect(await b.run(id)).toMatchObject({ state: 'failed', error: { detail: 'down' } })
  expect((await logOf(id)).join('\n')).toContain(message)
})

test("another workspace's recipe is none", async () => {
  const b = await bench()
  const other = await bench()
  const handler = await stored(other, 'theirs', noting)
  const id = await b.start(failing({ recipe: handler }))
  await work(b)
  expect(await runsOf(handler)).toEqual([])
  expect((await logOf(id)).join('\n')).toContain('There is no recipe')
})
