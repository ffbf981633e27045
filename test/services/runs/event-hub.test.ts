import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { jsonb } from '../../../src/db/json.ts'
import { followRun } from '../../../src/services/runs/event-hub.ts'
import { databaseForTest } from '../../support/database.ts'
import { createEngineBench, http, recipe } from '../../support/engine.ts'
import { FaultyLine } from '../../support/faulty-database.ts'

test('a log is read no further than its reader keeps up with, and none of it is left out', async () => {
  const database = await databaseForTest()
  const { db } = database
  const b = await createEngineBench(database)
  const id = await b.start(recipe([http('only')]))
  const events = 5_000
  await sql`
    insert into run_events (run_id, seq, type, data)
    select ${id}, n, case when n = ${events}::integer then 'execution.succeeded' else 'log' end, '{}'
    from generate_series(2, ${events}::integer) as n`.execute(db)
  const line = new FaultyLine(db, null)
  const follower = followRun({ db: line.db }, id, 0, new AbortController().signal)
  const seen = [(await follower.next()).value!.seq]
  // Time enough for a reader that does not wait: each of these is a round trip, as each page is.
  for (let trips = 0; trips < 20; trips++) await sql`select 1`.execute(db)
  expect(line.statements.length).toBeLessThanOrEqual(4)
  for await (const event of follower) seen.push(event.seq)
  expect(seen).toEqual(Array.from({ length: events }, (_, n) => n + 1))
})

test('followers end when the process shuts down, and a new one gets no further there', async () => {
  const database = await databaseForTest()
  const b = await createEngineBench(database)
  const id = await b.start(recipe([http('only')]))
  const shutdown = new AbortController()
  const runtime = { db: database.db, shutdown: shutdown.signal }
  const follow = () => followRun(runtime, id, 0, new AbortController().signal)
  const follower = follow()
  expect((await follower.next()).value!.type).toBe('execution.queued')
  const next = follower.next()
  shutdown.abort()
  expect(await next).toEqual({ done: true, value: undefined })
  expect(await follow().next()).toEqual({ done: true, value: undefined })
})

test('a log ends at an end that no retry follows, whatever else was written behind it', async () => {
  const database = await databaseForTest()
  const { db } = database
  const b = await createEngineBench(database)
  const id = await b.start(recipe([http('only')]))
  const log = ['execution.failed', 'execution.retried', 'execution.started', 'execution.canceled', 'usage']
  for (const [index, type] of log.entries())
    await db
      .insertInto('run_events')
      .values({ run_id: id, seq: index + 2, type, data: jsonb({}) })
      .execute()
  const seen: string[] = []
  for await (const event of followRun({ db }, id, 0, new AbortController().signal)) seen.push(event.type)
  expect(seen).toEqual(['execution.queued', ...log])
})
