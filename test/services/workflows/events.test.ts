import { sql } from 'kysely'
import { afterAll, expect, test } from 'vitest'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { followWorkflow } from '../../../src/services/workflows.service.ts'
import { createTestDatabase } from '../../support/database.ts'
import { FaultyLine } from '../../support/faulty-database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const database = await createTestDatabase()
afterAll(() => database.close())
const { db } = database

/** Followers of one workflow that waits for its approval, and the line that they read it over. */
async function followersOf(count: number) {
  const line = new FaultyLine(db, null)
  const shutdown = new AbortController()
  const ctx = { ...(await createServiceContext(database)), db: line.db, shutdown: shutdown.signal }
  const id = uuidv7()
  await db
    .insertInto('workflows')
    .values({
      id,
      workspace_id: ctx.actor.workspaceId,
      name: 'Waiting',
      goal: 'Wait.',
      approval: 'required',
      state: 'awaiting_approval',
      created_by: 'test',
    })
    .execute()
  const gone = Array.from({ length: count }, () => new AbortController())
  const followers = await Promise.all(
    gone.map(async ({ signal }) => (await followWorkflow(ctx, id, { run: 0, seq: 0 }, signal))!),
  )
  const next = () => followers.map((follower) => follower.next())
  for (const { value } of await Promise.all(next()))
    expect(value).toMatchObject({ data: { status: 'awaiting_approval' } })
  const end = () => sql`update workflows set state = 'canceled', finished_at = app_now() where id = ${id}`.execute(db)
  return { line, shutdown, gone, next, end }
}

test('a workflow is read once for all who follow it in a process, however many they are', async () => {
  const { line, next, end } = await followersOf(100)
  line.statements.length = 0
  const ends = next()
  await end()
  for (const { value } of await Promise.all(ends))
    expect(value).toMatchObject({ id: 'end', data: { status: 'canceled' } })
  expect(line.statements.length).toBeLessThan(20)
})

test('who stops to follow a workflow ends alone, and all do when the process shuts down', async () => {
  const { shutdown, gone, next } = await followersOf(3)
  const ended = { done: true, value: undefined }
  const [first, ...others] = next()
  gone[0]!.abort()
  expect(await first).toEqual(ended)
  expect(await Promise.race([...others, 'they follow on'])).toBe('they follow on')
  shutdown.abort()
  expect(await Promise.all(others)).toEqual([ended, ended])
  expect(await Promise.all(next())).toEqual([ended, ended, ended])
})

test('followers of a workflow wait while the database does not answer, and miss nothing', async () => {
  const { line, next, end } = await followersOf(2)
  let refused = 0
  line.refuses = () => ++refused <= 2
  const ends = next()
  await end()
  for (const { value } of await Promise.all(ends)) expect(value).toMatchObject({ id: 'end' })
  expect(refused).toBeGreaterThan(2)
})
