import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { jsonb } from '../../src/db/json.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { createWorkspace, updateCurrentWorkspace } from '../../src/services/workspaces.service.ts'
import { createTestDatabase } from '../support/database.ts'
import { createServiceContext } from '../support/service-context.ts'

const database = await createTestDatabase()
const { db } = database

async function userWith(owned: number) {
  const ctx = await createServiceContext(database)
  const id = uuidv7()
  await db
    .insertInto('users')
    .values({ id, issuer: 'https://id.example', subject: id, claims_issued_at: new Date() })
    .execute()
  const rows = Array.from({ length: owned }, (_, n) => ({ id: uuidv7(), slug: `w-${id.slice(-12)}-${n}`, name: 'W' }))
  await db.insertInto('workspaces').values(rows).execute()
  await db
    .insertInto('memberships')
    .values(rows.map((row) => ({ workspace_id: row.id, user_id: id, role: 'owner' as const })))
    .execute()
  return { ...ctx, actor: { ...ctx.actor, kind: 'user' as const, id } }
}

test('a user owns a hundred workspaces at most, also with many requests at once', async () => {
  const ctx = await userWith(98)
  const made = await Promise.allSettled([1, 2, 3, 4, 5, 6].map((n) => createWorkspace(ctx, { name: `W ${n}` })))
  expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(2)
  for (const outcome of made) {
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ kind: 'conflict' })
  }
})

test.runIf(database.url)(
  'a limit that is set while one of its runs is being written waits for the run, and not the run for it',
  async () => {
    const ctx = await createServiceContext(database)
    const id = uuidv7()
    await db
      .insertInto('runs')
      .values({
        id,
        workspace_id: ctx.actor.workspaceId,
        state: 'running',
        trigger: jsonb({}),
        input: jsonb({}),
        definition: jsonb({}),
      })
      .execute()
    let limiting: Promise<unknown> | undefined
    // As a checkpoint does: the run first, and then a row that names the workspace.
    await db.transaction().execute(async (tx) => {
      await sql`select from runs where id = ${id} for update`.execute(tx)
      limiting = updateCurrentWorkspace(ctx, { settings: { concurrent_executions: 1 } })
      const blocked = async () =>
        (
          await sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`.execute(
            db,
          )
        ).rows.length > 0
      while (!(await blocked())) await new Promise((resolve) => setImmediate(resolve))
      await sql`select from workspaces where id = ${ctx.actor.workspaceId} for key share`.execute(tx)
    })
    expect(await limiting).toMatchObject({ settings: { concurrent_executions: 1 } })
  },
)
