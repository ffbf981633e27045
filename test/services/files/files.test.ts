import { expect, test } from 'vitest'
import { storeFile, type NewFile } from '../../../src/services/files/store-file.ts'
import { notedBlobs } from '../../../src/services/files/run-blobs.ts'
import { filesService } from '../../../src/services/files.service.ts'
import { createMemoryBlobs } from '../../../src/runtime/memory-blobs.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { insertRuns } from '../../../src/services/runs/create-run.ts'
import { databaseForTest } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const hour = 3600
const day = 24 * hour
const bytes = new Uint8Array([1, 2, 3])
const file: NewFile = { name: 'a', mediaType: 'text/plain', bytes, source: 'upload' }

async function setUp() {
  const database = await databaseForTest()
  const ctx = { ...(await createServiceContext(database)), blobs: createMemoryBlobs() }
  const keyOf = (id: string) => `files/${ctx.actor.workspaceId}/${id}`
  const rows = () => database.db.selectFrom('files').select(['id', 'stored']).execute()
  const doomed = () => database.db.selectFrom('doomed_blobs').select('key').execute()
  const aRun = async () => {
    const id = uuidv7()
    const common = { workspaceId: ctx.actor.workspaceId, recipeId: null, recipeVersion: null, trigger: {}, input: {} }
    await insertRuns(ctx.db, [{ ...common, id, definition: { name: 'Nothing', steps: [] } }])
    return id
  }
  return { database, ctx, keyOf, rows, doomed, aRun, tick: () => filesService.tick(ctx) }
}

test('a process that dies before the bytes are put leaves a row that nobody sees and the tick takes away', async () => {
  const { database, ctx, rows, tick, doomed } = await setUp()
  const dying = { ...ctx.blobs, put: () => Promise.reject(new Error('died')) }
  await expect(storeFile({ ...ctx, blobs: dying }, file)).rejects.toThrow('died')
  expect(await rows()).toMatchObject([{ stored: false }])
  await tick()
  expect(await rows()).toHaveLength(1)
  await database.shiftClock({ seconds: hour + 1 })
  await tick()
  expect([await rows(), await doomed()]).toEqual([[], []])
})

test('a process that dies after the bytes were put leaves nothing either', async () => {
  const { database, ctx, keyOf, rows, tick } = await setUp()
  const dying = {
    ...ctx.blobs,
    put: async (key: string, content: Uint8Array) => {
      await ctx.blobs.put(key, content)
      throw new Error('died')
    },
  }
  await expect(storeFile({ ...ctx, blobs: dying }, file)).rejects.toThrow('died')
  const [row] = await rows()
  expect(await ctx.blobs.get(keyOf(row!.id))).toEqual(bytes)
  await database.shiftClock({ seconds: hour + 1 })
  await tick()
  expect(await rows()).toEqual([])
  expect(await ctx.blobs.get(keyOf(row!.id))).toBeNull()
})

test('the same request under the same key finishes what the first one began', async () => {
  const { ctx, rows, keyOf } = await setUp()
  const keyed = { ...file, idempotencyKey: 'k' }
  const dying = { ...ctx.blobs, put: () => Promise.reject(new Error('died')) }
  await expect(storeFile({ ...ctx, blobs: dying }, keyed)).rejects.toThrow('died')
  const { file: stored } = await storeFile(ctx, keyed)
  expect(await rows()).toEqual([{ id: stored.id, stored: true }])
  expect(await ctx.blobs.get(keyOf(stored.id))).toEqual(bytes)
})

test('bytes that come after their row was given up are taken away', async () => {
  const { database, ctx, doomed, tick } = await setUp()
  let key = ''
  const slow = {
    ...ctx.blobs,
    put: async (at: string, content: Uint8Array) => {
      key = at
      await database.shiftClock({ seconds: hour + 1 })
      await tick()
      await ctx.blobs.put(at, content)
    },
  }
  await expect(storeFile({ ...ctx, blobs: slow }, file)).rejects.toMatchObject({ kind: 'unavailable' })
  await tick()
  expect(await ctx.blobs.get(key)).toBeNull()
  expect(await doomed()).toEqual([])
})

test('a file that is over is deleted, others stay', async () => {
  const { database, ctx, keyOf, rows, tick } = await setUp()
  const { file: short } = await storeFile(ctx, { ...file, expiresInDays: 1 })
  const { file: long } = await storeFile(ctx, { ...file, expiresInDays: 3 })
  const { file: lasting } = await storeFile(ctx, file)
  await database.shiftClock({ seconds: day + 1 })
  await tick()
  expect((await rows()).map(({ id }) => id).toSorted()).toEqual([long.id, lasting.id].toSorted())
  expect(await ctx.blobs.get(keyOf(short.id))).toBeNull()
  expect(await ctx.blobs.get(keyOf(long.id))).toEqual(bytes)
})

test('a store that is away loses no deletion: it is made once the store is back', async () => {
  const { database, ctx, keyOf, doomed, tick } = await setUp()
  const { file: stored } = await storeFile(ctx, { ...file, expiresInDays: 1 })
  await database.shiftClock({ seconds: day + 1 })
  await filesService.tick({ ...ctx, blobs: { ...ctx.blobs, delete: () => Promise.reject(new Error('away')) } })
  expect(await doomed()).toEqual([{ key: keyOf(stored.id) }])
  await tick()
  expect(await doomed(), 'not at once').toHaveLength(1)
  await database.shiftClock({ seconds: day + 301 })
  await tick()
  expect(await doomed()).toEqual([])
  expect(await ctx.blobs.get(keyOf(stored.id))).toBeNull()
})

test('a deleted run takes its files and large values along', async () => {
  const { ctx, keyOf, rows, tick, aRun } = await setUp()
  const [gone, other] = [await aRun(), await aRun()]
  const noted = notedBlobs(ctx)
  const valueOf = (run: string) => `runs/${ctx.actor.workspaceId}/${run}/value.json`
  for (const run of [gone, other]) await noted.put(valueOf(run), bytes)
  const { file: taken } = await storeFile(ctx, { ...file, source: 'step', runId: gone })
  const { file: kept } = await storeFile(ctx, { ...file, source: 'step', runId: other })
  await ctx.db.deleteFrom('runs').where('id', '=', gone).execute()
  await tick()
  expect(await rows()).toEqual([{ id: kept.id, stored: true }])
  expect(await ctx.blobs.get(keyOf(taken.id))).toBeNull()
  expect(await ctx.blobs.get(valueOf(gone))).toBeNull()
  expect(await ctx.blobs.get(valueOf(other))).toEqual(bytes)
})

test('a large value whose run never came to be goes after a day; one whose run did stays', async () => {
  const { database, ctx, tick, aRun } = await setUp()
  const run = await aRun()
  const noted = notedBlobs(ctx)
  const [mine, nobodys] = [run, uuidv7()].map((id) => `runs/${ctx.actor.workspaceId}/${id}/value.json`)
  for (const key of [mine!, nobodys!]) await noted.put(key, bytes)
  await tick()
  expect(await ctx.blobs.get(nobodys!)).toEqual(bytes)
  await database.shiftClock({ seconds: day + 1 })
  await tick()
  expect(await ctx.blobs.get(nobodys!)).toBeNull()
  expect(await ctx.blobs.get(mine!)).toEqual(bytes)
})

test('a file of a step that is tried by itself stays for a day', async () => {
  const { ctx } = await setUp()
  const { file: tried } = await storeFile(ctx, { ...file, source: 'step', runId: uuidv7() })
  expect(tried.execution_id).toBeNull()
  expect(Date.parse(tried.expires_at!) - Date.parse(tried.created_at)).toBe(day * 1000)
})
