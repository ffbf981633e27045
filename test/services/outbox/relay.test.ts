import { sql } from 'kysely'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { fateOf, type Refusal } from '../../../src/services/outbox/backoff.ts'
import type { Message, Outbox } from '../../../src/services/outbox/outbox.ts'
import { createRelay } from '../../../src/services/outbox/relay.ts'
import { discard, settle } from '../../../src/services/outbox/settle.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createTestLog } from '../../support/log.ts'
import { createServiceContext } from '../../support/service-context.ts'

const database = await createTestDatabase()
afterAll(() => database.close())
const { db } = database
const log = createTestLog()
const ctx = { ...(await createServiceContext(database)), db: database.engine, log }
beforeEach(async () => {
  await database.shiftClock({ seconds: 0 })
  await db.deleteFrom('schedule_events').execute()
  log.lines.length = 0
})

const outbox: Outbox = {
  table: 'schedule_events',
  key: ['id'],
  state: { column: 'delivery', taken: 'delivered' },
  delaysMs: [10_000, 60_000],
  most: { pass: 6, process: 12, workspace: 3 },
}
type Event = Message & { id: string }

/** Some events in workspaces of their own, all due. */
async function due({ workspaces, each }: { workspaces: number; each: number }): Promise<string[]> {
  const ids = Array.from({ length: workspaces }, () => crypto.randomUUID())
  await db
    .insertInto('workspaces')
    .values(ids.map((id) => ({ id, slug: `w-${id}`, name: 'One of many' })))
    .execute()
  for (const id of ids)
    await sql`
      insert into schedule_events (id, workspace_id, schedule_id, type, data, delivery, next_attempt_at)
      select gen_random_uuid(), ${id}::text::uuid, gen_random_uuid(), 'schedule.parked', '{}', 'pending', app_now()
      from generate_series(1, ${each}::integer)`.execute(db)
  return ids
}
const rows = () =>
  db.selectFrom('schedule_events').select(['id', 'workspace_id', 'delivery', 'attempts', 'next_attempt_at']).execute()

/** What one process does, with receivers that answer as `receive` does: null takes it. */
function aProcess(receive: (event: Event) => Refusal | null | Promise<Refusal | null> = () => null) {
  const begun: Event[] = []
  const noted: boolean[] = []
  const deferred: Promise<unknown>[] = []
  const relay = createRelay(outbox, async (runtime: typeof ctx, event: Event) => {
    begun.push(event)
    const fate = fateOf(outbox, event, await receive(event), runtime)
    noted.push(await settle(runtime.db, outbox, event, fate, sql`last_error = ${fate.state}::text`))
  })
  return {
    begun,
    noted,
    pass: () => relay({ ...ctx, defer: (work) => void deferred.push(work) }),
    settled: () => Promise.all(deferred),
    /** How many it has begun for each workspace, the most first. */
    shares() {
      const counts = new Map<string, number>()
      for (const { workspace_id } of begun) counts.set(workspace_id, (counts.get(workspace_id) ?? 0) + 1)
      return [...counts.values()].toSorted((a, b) => b - a)
    },
  }
}
/** Receivers that say nothing until they are told to. */
function hanging() {
  let release = () => {}
  const released = new Promise<null>((resolve) => (release = () => resolve(null)))
  return { receive: () => released, release }
}

test('each workspace has one message of a pass before any has a second', async () => {
  await due({ workspaces: 5, each: 10 })
  const { pass, shares } = aProcess()
  expect(await pass()).toEqual({ done: 6, more: true })
  expect(shares()).toEqual([2, 1, 1, 1, 1])
})

test('whoever was left out by one pass comes first in the next, as long as the others have something under way', async () => {
  await due({ workspaces: 12, each: 10 })
  const { receive, release } = hanging()
  const { begun, pass, shares, settled } = aProcess(receive)
  await pass()
  expect(begun).toHaveLength(6)
  await pass()
  expect(shares()).toEqual(Array.from({ length: 12 }, () => 1))
  expect(await pass(), 'the process has as many as it may').toEqual({ done: 0, more: false })
  release()
  await settled()
  expect(await pass()).toMatchObject({ done: 6 })
})

test('a workspace whose receivers hang has its share and no more', async () => {
  await due({ workspaces: 1, each: 10 })
  const { receive, release } = hanging()
  const { begun, pass, settled } = aProcess(receive)
  expect([await pass(), await pass()]).toEqual([
    { done: 3, more: true },
    { done: 0, more: false },
  ])
  expect(begun).toHaveLength(3)
  release()
  await settled()
})

test('of processes that tick at once each message is tried by one, and none is left for want of looking', async () => {
  await due({ workspaces: 3, each: 2 })
  const processes = Array.from({ length: 4 }, () => aProcess())
  for (let round = 0; round < 3; round++) await Promise.all(processes.map(({ pass }) => pass()))
  const begun = processes.flatMap((one) => one.begun.map(({ id }) => id))
  expect(begun).toHaveLength(6)
  expect(new Set(begun).size).toBe(6)
  expect((await rows()).every(({ delivery, attempts }) => delivery === 'delivered' && attempts === 1)).toBe(true)
})

test('a try that breaks takes no other with it, and is made again when its claim ends', async () => {
  await due({ workspaces: 3, each: 1 })
  let broken: string | undefined
  const { begun, pass } = aProcess(({ id }) => {
    broken ??= id
    if (id === broken && begun.length <= 3) throw new Error('The row cannot be written.')
    return null
  })
  expect(await pass()).toMatchObject({ done: 3 })
  expect(log.lines).toMatchObject([{ level: 'warn', fields: { outbox: 'schedule_events', id: broken } }])
  expect((await rows()).map(({ delivery }) => delivery).toSorted()).toEqual(['delivered', 'delivered', 'pending'])
  expect(await pass(), 'its claim is still on it').toMatchObject({ done: 0 })
  await database.shiftClock({ seconds: 61 })
  expect(await pass()).toMatchObject({ done: 1 })
  expect(begun.at(-1)).toMatchObject({ id: broken, attempts: 2 })
  expect((await rows()).every(({ delivery }) => delivery === 'delivered')).toBe(true)
})

test('what comes back behind its claim writes nothing: neither an outcome nor that it is gone', async () => {
  await due({ workspaces: 1, each: 1 })
  const { receive, release } = hanging()
  const late = aProcess(receive)
  await late.pass()
  await database.shiftClock({ seconds: 61 })
  const next = aProcess(() => ({}))
  await next.pass()
  const [row] = await rows()
  expect(row).toMatchObject({ delivery: 'pending', attempts: 2 })
  release()
  await late.settled()
  await discard(ctx.db, outbox, late.begun[0]!)
  expect([late.noted, next.noted]).toEqual([[false], [true]])
  expect(await rows()).toEqual([row])
  await discard(ctx.db, outbox, next.begun[0]!)
  expect(await rows()).toEqual([])
})

test('what is refused comes when it is due again, until it is given up; then nobody looks at it any more', async () => {
  await due({ workspaces: 1, each: 1 })
  const { begun, pass } = aProcess(() => ({}))
  const counts: number[] = []
  for (const seconds of [0, 9, 13, 72, 86, 100_000]) {
    await database.shiftClock({ seconds })
    await pass()
    counts.push(begun.length)
  }
  expect(counts).toEqual([1, 1, 2, 2, 3, 3])
  expect(await rows()).toMatchObject([{ delivery: 'failed', attempts: 3, next_attempt_at: null }])
})
