import { sql } from 'kysely'
import { afterAll, expect, test } from 'vitest'
import { jsonb } from '../../../src/db/json.ts'
import { sha256Hex } from '../../../src/lib/canonical.ts'
import type { JsonObject } from '../../../src/lib/json.ts'
import { readOutput } from '../../../src/services/executions.service.ts'
import { replayRun } from '../../../src/services/runs/replay-run.ts'
import { unspill } from '../../../src/services/runs/spill.ts'
import { StepError } from '../../../src/services/runs/step-executor.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createEngineBench, http, recipe, type EngineBench } from '../../support/engine.ts'

const database = await createTestDatabase()
afterAll(() => database.close())
const { db } = database

const long = Array.from({ length: 600 }, (_, n) => ({ n, text: 'x'.repeat(1_000) }))
const loop = (id: string, items: string, rest: object = {}) => ({
  id,
  kind: 'foreach',
  items: { $expr: items },
  as: 'item',
  steps: [{ id: `${id}_one`, kind: 'transform', value: { $expr: 'item' } }],
  ...rest,
})

async function work({ worker }: EngineBench) {
  const engine = worker()
  await engine.claim()
  await engine.idle()
}

const outputOf = async (b: EngineBench, id: string) =>
  unspill(b.ctx.blobs, b.ctx.actor.workspaceId, (await b.run(id)).output)

async function deleteBlobsOf(b: EngineBench, id: string) {
  for (const { key } of await db.selectFrom('run_blobs').select('key').where('run_id', '=', id).execute())
    await b.ctx.blobs.delete(key)
}

test('a long list goes from loop to loop in pages, each noted for its run, so that they are deleted with it', async () => {
  const b = await createEngineBench(database)
  b.script('big', () => long as never)
  const id = await b.start(recipe([http('big'), loop('one', 'steps.big.output'), loop('two', 'steps.one.output')]))
  await work(b)
  const { output } = await b.run(id)
  expect(output).toMatchObject({ $blob: expect.stringContaining(id), count: 600, pages: 2 })
  expect(await outputOf(b, id)).toEqual(long)
  const steps = await b.steps(id)
  // One content, one set of blobs: what the request gave is what the loops gave.
  expect([steps['big']!.output, steps['one']!.output]).toEqual([output, output])
  const noted = db.selectFrom('run_blobs').select('key').where('run_id', '=', id)
  const keys = (await noted.execute()).map(({ key }) => key)
  expect(keys).toHaveLength(3)
  await db.deleteFrom('runs').where('id', '=', id).execute()
  const doomed = await db.selectFrom('doomed_blobs').select('key').where('key', 'in', keys).execute()
  expect(doomed).toHaveLength(3)
})

test('a run that an older version began goes on with its list in one blob', async () => {
  const b = await createEngineBench(database)
  const id = await b.start(recipe([loop('each', '[]')]))
  const bytes = new TextEncoder().encode(JSON.stringify(long))
  const key = `runs/${b.ctx.actor.workspaceId}/${id}/${sha256Hex(bytes)}.json`
  await b.ctx.blobs.put(key, bytes)
  const handle = { $blob: key, size: bytes.length, sha256: sha256Hex(bytes), media_type: 'application/json' }
  await db
    .insertInto('run_steps')
    .values({
      run_id: id,
      path: 'each',
      parent: '',
      ordinal: 1,
      step_id: 'each',
      kind: 'foreach',
      status: 'pending',
      attempts: 1,
      state: jsonb({ items: handle }),
    })
    .execute()
  // The first fence is that of a run of which nothing is stored.
  await db.updateTable('runs').set({ fence: 1 }).where('id', '=', id).execute()
  await work(b)
  expect(await outputOf(b, id)).toEqual(long)
})

test('the list of an earlier run is copied: it may be deleted while this one goes on', async () => {
  const b = await createEngineBench(database)
  b.script('big', () => long as never)
  const first = await b.start(recipe([http('big')]))
  await work(b)
  const { output } = await b.run(first)
  const id = await b.start(recipe([loop('each', 'input.list')]), { list: output })
  await work(b)
  expect(await outputOf(b, id)).toEqual(long)
  const { rows } = await sql<{ items: JsonObject }>`
    select state -> 'items' as items from run_steps where run_id = ${id} and path = 'each'`.execute(db)
  expect(rows[0]!.items['$blob']).toContain(id)
})

test('a replay takes all pages along', async () => {
  const b = await createEngineBench(database)
  b.script('big', () => long as never)
  const source = await b.start(recipe([http('big'), loop('one', 'steps.big.output'), loop('two', 'steps.one.output')]))
  await work(b)
  const { id } = await replayRun(b.ctx, { runId: source, from: 'two' })
  await deleteBlobsOf(b, source)
  await work(b)
  expect(await outputOf(b, id)).toEqual(long)
  expect(b.calls).toHaveLength(1)
})

test('a replay takes along what the items of a list keep apart', async () => {
  const b = await createEngineBench(database)
  b.script('big', () => Array.from({ length: 30 }, (_, n) => ({ n, text: 'x'.repeat(10_000) })))
  const within = { id: 'within', kind: 'foreach', items: { $expr: 'item' }, as: 'one' }
  const number = { id: 'number', kind: 'transform', value: { $expr: 'one.n' } }
  const source = await b.start(
    recipe([
      loop('each', '[1, 2]', { steps: [http('big')] }),
      loop('use', 'steps.each.output', { steps: [{ ...within, steps: [number] }] }),
    ]),
  )
  await work(b)
  const { id } = await replayRun(b.ctx, { runId: source, from: 'use' })
  await deleteBlobsOf(b, source)
  await work(b)
  const numbers = Array.from({ length: 30 }, (_, n) => n)
  expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: [numbers, numbers] })
  expect(JSON.stringify(await b.steps(id))).not.toContain(source)
})

test('a loop that collects tells how many of its items failed, and each of them why', async () => {
  const b = await createEngineBench(database)
  b.script('work', ({ context }) => {
    if ((context.render({ $expr: 'item' }) as number) % 2) throw new StepError('upstream', 'down', { retryable: false })
    return { ok: true }
  })
  const id = await b.start(
    recipe([loop('each', 'input.items', { on_item_error: 'collect', steps: [http('work')] })], {
      output: { $expr: 'steps.each' },
    }),
    { items: [0, 1, 2, 3] },
  )
  await work(b)
  expect((await b.run(id)).output).toEqual({
    status: 'succeeded',
    output: [{ ok: true }, null, { ok: true }, null],
    error: null,
  })
  expect((await b.steps(id))['each/3']).toMatchObject({ status: 'failed', error: { kind: 'upstream', detail: 'down' } })
  const { rows } = await sql<{ data: JsonObject }>`
    select data from run_events where run_id = ${id} and type = 'step.succeeded' and data ->> 'path' = 'each'`.execute(
    db,
  )
  expect(rows[0]!.data).toMatchObject({ failed_items: 2 })
})

test('the output of a step is read by itself, a stored one as a stream of the length that was told', async () => {
  const b = await createEngineBench(database)
  const big = http('big', { on_error: 'continue' })
  b.script('big', () => long as never)
  b.script('bad', () => {
    throw new StepError('upstream', 'down', { retryable: false })
  })
  const id = await b.start(recipe([big, http('bad', { on_error: 'continue' })], { output: { $expr: '1' } }))
  await work(b)
  const { content } = await readOutput(b.ctx, id, 'big')
  if (!('stream' in content)) throw new Error('It is stored apart.')
  const text = await new Response(content.stream()).text()
  expect([JSON.parse(text), text.length]).toEqual([long, content.size])
  await expect(readOutput(b.ctx, id, 'bad')).rejects.toMatchObject({ kind: 'conflict' })
  await expect(readOutput(b.ctx, id, 'other')).rejects.toMatchObject({ kind: 'not-found' })
  const stranger = await createEngineBench(database)
  await expect(readOutput(stranger.ctx, id, 'big')).rejects.toMatchObject({ kind: 'not-found' })
})
