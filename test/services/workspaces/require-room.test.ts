import { afterAll, expect, test } from 'vitest'
import { requireRoom } from '../../../src/services/workspaces/require-room.ts'
import { jsonb } from '../../../src/db/json.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const database = await createTestDatabase()
afterAll(() => database.close())

test('of any number at once no more pass than a workspace has room for, and another one has room of its own', async () => {
  const { db } = database
  const [here, there] = [await createServiceContext(database), await createServiceContext(database)]
  const limit = { table: 'webhook_subscriptions', most: 3, noun: 'webhook subscriptions' } as const
  const add = ({ actor }: typeof here) =>
    db.transaction().execute(async (tx) => {
      await requireRoom(tx, actor.workspaceId, limit)
      const row = { id: crypto.randomUUID(), workspace_id: actor.workspaceId, name: 'One', url: 'https://one.test/' }
      await tx
        .insertInto('webhook_subscriptions')
        .values({ ...row, events: jsonb(['*']), secret: 'sealed' })
        .execute()
    })
  await add(there)
  const added = await Promise.allSettled(Array.from({ length: 6 }, () => add(here)))
  expect(added.filter(({ status }) => status === 'fulfilled')).toHaveLength(3)
  expect(added.filter(({ status }) => status === 'rejected')).toMatchObject(
    Array.from({ length: 3 }, () => ({
      reason: { kind: 'conflict', message: 'A workspace can have 3 webhook subscriptions at most.' },
    })),
  )
  await add(there)
})
