import { parseConfig } from '../../../src/config.ts'
import type { Blobs, Log } from '../../../src/context.ts'
import { openDatabase } from '../../../src/runtime/node/database.ts'
import { openFolderBlobs } from '../../../src/runtime/node/folder-blobs.ts'
import { readOutput } from '../../../src/services/executions.service.ts'
import type { RecipeDefinition } from '../../../src/services/recipes/definition.ts'
import { Engine } from '../../../src/services/runs/engine.ts'
import { startRun } from '../../../src/services/runs/start-run.ts'
import { createTestLog } from '../../support/log.ts'
import { createServiceContext } from '../../support/service-context.ts'

// A process of its own, so that what is in its heap is what a run has put there: two loops over as many items as the first
// argument says, each item of 2 KB; the second loop is handed to another engine in its middle. Tells what was held at most.
// Usage: DATABASE_URL=… node --expose-gc long-loop.ts <items> <folder of blobs>
const count = Number(process.argv[2])
const held = () => {
  globalThis.gc!()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const { db, close } = await openDatabase(
  parseConfig({ DATABASE_URL: process.env['DATABASE_URL']! }),
  '',
  createTestLog(),
)
const folder = await openFolderBlobs(process.argv[3]!)
const read: string[] = []
const blobs: Blobs = { ...folder, get: (key) => (read.push(key), folder.get(key)) }
const log: Log = { debug() {}, info: console.error, warn: console.error, error: console.error, with: () => log }
const ctx = { ...(await createServiceContext({ db })), blobs, log }

const loop = (id: string, items: string, value: unknown) => ({
  id,
  kind: 'foreach',
  items: { $expr: items },
  as: 'item',
  concurrency: 8,
  steps: [{ id: `${id}_one`, kind: 'transform', value }],
})
const definition = {
  name: 'Long loop',
  steps: [
    loop('wide', 'input.items', { n: { $expr: 'item' }, text: 'x'.repeat(2_000) }),
    loop('again', 'steps.wide.output', { n: { $expr: 'item.n' }, text: { $expr: 'item.text' } }),
  ],
} as unknown as RecipeDefinition

const work = async (owner: string, until?: () => Promise<boolean>) => {
  const engine = new Engine({ ...ctx }, { owner, concurrency: 1 })
  await engine.claim()
  while (until && engine.inFlight > 0 && !(await until())) await new Promise((resolve) => setTimeout(resolve, 20))
  if (until) engine.stopStarting()
  await engine.idle()
}

const endedItems = async () => {
  const row = await db
    .selectFrom('run_steps')
    .select((e) => e.fn.countAll<string>().as('items'))
    .where('run_id', '=', id)
    .where('step_id', '=', 'again')
    .where('kind', '=', 'item')
    .where('status', '=', 'succeeded')
    .executeTakeFirstOrThrow()
  return Number(row.items)
}

// What is loaded and compiled once is not what a run holds.
const items = Array.from({ length: count }, (_, n) => n)
await startRun(ctx, { definition, trigger: { kind: 'api' }, input: { items: items.slice(0, 200) } })
await work('warm')

const before = held()
let most = before
const sampling = setInterval(() => (most = Math.max(most, held())), 250)
const { id } = await startRun(ctx, { definition, trigger: { kind: 'api' }, input: { items } })
await work('first', async () => (await endedItems()) >= count / 2)
const handed = await endedItems()
read.length = 0
await work('second')
const pagesRead = read.filter((key) => !key.endsWith('.pages.json')).length
clearInterval(sampling)

const { content } = await readOutput(ctx, id)
if (!('stream' in content)) throw new Error('The output is no stored list.')
let bytes = 0
let text = ''
const decoder = new TextDecoder()
for await (const chunk of content.stream()) {
  bytes += chunk.length
  text += decoder.decode(chunk, { stream: true })
}
const output = JSON.parse(text) as { n: number; text: string }[]
const inOrder = output.length === count && output.every(({ n, text }, at) => n === at && text.length === 2_000)
const run = await db.selectFrom('runs').select(['output']).where('id', '=', id).executeTakeFirstOrThrow()
const pages = (run.output as { pages: number }).pages
console.log(
  JSON.stringify({ grownBytes: most - before, handed, pages, pagesRead, inOrder, isWhole: bytes === content.size }),
)
await close()
