import { expect, test } from 'vitest'
import { uuidv7 } from '../../src/lib/ids.ts'
import { createWorkspace } from '../../src/services/workspaces.service.ts'
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
