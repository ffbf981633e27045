import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Blobs } from '../../../src/context.ts'
import type { Json, JsonObject } from '../../../src/lib/json.ts'
import { createMemoryBlobs } from '../../../src/runtime/memory-blobs.ts'
import { identityOf, openList, rehome, spill, spillList, unspill } from '../../../src/services/runs/spill.ts'

const workspace = crypto.randomUUID()
const run = crypto.randomUUID()

/** Memory blobs that tell what lies in them. */
function watchedBlobs(): Blobs & { keys: Map<string, number>; gets: string[] } {
  const blobs = createMemoryBlobs()
  const keys = new Map<string, number>()
  const gets: string[] = []
  return {
    ...blobs,
    keys,
    gets,
    async put(key, bytes, options) {
      keys.set(key, bytes.length)
      await blobs.put(key, bytes, options)
    },
    get: (key) => (gets.push(key), blobs.get(key)),
  }
}

const textOf = (stream: ReadableStream<Uint8Array>) => new Response(stream).text()

test('a list is the same item by item, whole and as one text, wherever its pages are cut', async () => {
  const item = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<Json>,
    fc.record({ n: fc.integer(), text: fc.integer({ min: 0, max: 300_000 }).map((length) => 'ä'.repeat(length)) }),
  )
  const list = fc.array(item, { minLength: 1, maxLength: 30 })
  await fc.assert(
    fc.asyncProperty(list, async (given) => {
      const blobs = createMemoryBlobs()
      const items = JSON.parse(JSON.stringify(given)) as Json[]
      const text = JSON.stringify(items)
      const bytes = new TextEncoder().encode(text)
      const stored = await spillList(blobs, workspace, run, items)
      expect(stored).toEqual(await spill(blobs, workspace, run, items))
      const list = await openList(blobs, workspace, stored)
      if (bytes.length <= 256 * 1024) {
        expect(list).toBeNull()
        expect(stored).toEqual(items)
        return
      }
      expect(stored).toMatchObject({
        size: bytes.length,
        sha256: createHash('sha256').update(bytes).digest('hex'),
        count: items.length,
      })
      expect(await textOf(list!.stream())).toBe(text)
      expect(await unspill(blobs, workspace, stored)).toEqual(items)
      for (const [position, one] of items.entries()) expect(await list!.item(position)).toEqual(one)
    }),
    { numRuns: 40 },
  )
})

const long = Array.from({ length: 3_000 }, (_, n) => ({ n, text: 'x'.repeat(1_000) }))

test('pages are bounded, and each is read once by whoever goes through the items in order', async () => {
  const blobs = watchedBlobs()
  const stored = (await spill(blobs, workspace, run, long)) as JsonObject
  expect(stored['pages']).toBe(6)
  expect(Math.max(...blobs.keys.values())).toBeLessThan(600_000)
  const list = await openList(blobs, workspace, stored)
  blobs.gets.length = 0
  await Promise.all(long.map((item, position) => list!.item(position).then((read) => expect(read).toEqual(item))))
  expect(blobs.gets).toHaveLength(6)
})

test('a list copied to another run has all its blobs there', async () => {
  const blobs = watchedBlobs()
  const stored = await spill(blobs, workspace, run, long)
  const other = crypto.randomUUID()
  const before = [...blobs.keys.keys()]
  const copy = await rehome(blobs, workspace, other, stored)
  for (const key of before) await blobs.delete(key)
  expect(await unspill(blobs, workspace, copy)).toEqual(long)
  expect((copy as JsonObject)['$blob']).toContain(other)
})

test('what is copied to another run has with it what it holds, at every depth, each once', async () => {
  const blobs = watchedBlobs()
  const apart = (value: Json) => spill(blobs, workspace, run, value)
  const object = { text: 'x'.repeat(300_000) }
  const items = long.slice(0, 600)
  const list = await apart(items)
  const pages = await apart(items.map((item) => ({ ...item, list })))
  const value = { inline: [[await apart(object)], list], pages, single: await apart({ ...object, list }) }
  const before = new Set(blobs.keys.keys())
  const other = crypto.randomUUID()
  blobs.gets.length = 0
  const copy = (await rehome(blobs, workspace, other, value)) as typeof value
  expect(new Set(blobs.gets).size).toBe(blobs.gets.length)
  for (const key of before) await blobs.delete(key)
  const open = (handle: Json) => unspill(blobs, workspace, handle)
  expect(await open((copy.inline[0] as Json[])[0]!)).toEqual(object)
  const first = ((await open(copy.pages)) as { list: Json }[])[0]!
  expect(first.list).toEqual(copy.inline[1])
  expect(((await open(copy.single)) as { list: Json }).list).toEqual(first.list)
  expect(await open(first.list)).toEqual(items)
})

test('a handle within a value whose blob is gone stays as it is; a value that is gone is missed', async () => {
  const blobs = watchedBlobs()
  const handle = await spill(blobs, workspace, run, long)
  for (const key of blobs.keys.keys()) await blobs.delete(key)
  expect(await rehome(blobs, workspace, crypto.randomUUID(), { old: handle })).toEqual({ old: handle })
  await expect(rehome(blobs, workspace, crypto.randomUUID(), handle)).rejects.toThrow('gone')
})

test('a list of another workspace is not opened', async () => {
  const blobs = createMemoryBlobs()
  const stored = await spill(blobs, workspace, run, long)
  expect(await openList(blobs, crypto.randomUUID(), stored)).toBeNull()
})

test('a list in pages is the one that was kept in one blob', async () => {
  const stored = (await spill(createMemoryBlobs(), workspace, run, long)) as JsonObject
  const bytes = Buffer.from(JSON.stringify(long))
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const before = { $blob: `runs/${workspace}/${run}/${sha256}.json`, size: bytes.length, sha256, media_type: 'x' }
  expect(identityOf(stored)).toEqual(identityOf(before))
})
