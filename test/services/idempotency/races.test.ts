import { sql } from 'kysely'
import { expect, test } from 'vitest'
import type { ServiceContext } from '../../../src/context.ts'
import { scopedTo } from '../../../src/db/scope.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { reply } from '../../../src/lib/operation.ts'
import { createAgent } from '../../../src/services/agents.service.ts'
import { answerOnce } from '../../../src/services/idempotency/answer-once.ts'
import { createRecipe } from '../../../src/services/recipes.service.ts'
import { createTestApp } from '../../support/app.ts'
import { gate } from '../../support/engine.ts'

const app = await createTestApp()
const { db, signIn } = app
const isPostgres = app.database.url !== undefined
const agentsOf = async (workspaceId: string) =>
  (await db.selectFrom('agents').select('id').where('workspace_id', '=', workspaceId).execute()).length

/** A row and nothing beside it: whoever is audited waits for acts of its workspace that have not ended. */
const insertAgent = ({ db, actor }: Pick<ServiceContext, 'db' | 'actor'>, slug: string) =>
  sql`insert into agents (id, workspace_id, slug, name)
    values (${uuidv7()}, ${actor.workspaceId}, ${slug}, ${slug})`.execute(db)

async function aContext() {
  const { workspaceId } = await signIn()
  return {
    ...app.runtime,
    db: scopedTo(app.runtime.db, workspaceId),
    actor: { kind: 'system' as const, id: uuidv7(), workspaceId, permissions: new Set(['recipes:execute' as const]) },
  }
}
const request = (key: string, content: unknown = {}) => ({ operation: 'createThing', key, content, sealed: false })

test('of twenty at once one does the work; nobody else does it again, then or later', async () => {
  const client = await signIn()
  const headers = { 'idempotency-key': uuidv7() }
  const send = () => client.post('/api/agents', { name: 'Helper' }, headers)
  const answers = await Promise.all(Array.from({ length: 20 }, send))
  for (const { status } of answers) expect([201, 409]).toContain(status)
  const made = answers.filter(({ status }) => status === 201)
  expect(made.filter((answer) => answer.headers.get('idempotency-replayed') === null)).toHaveLength(1)
  expect((await send()).headers.get('idempotency-replayed')).toBe('true')
  expect(await agentsOf(client.workspaceId)).toBe(1)
})

test('parts of the work that fail and are caught take nothing else with them', async () => {
  const ctx = await aContext()
  await answerOnce(ctx, request('k'), async (inner) => {
    const first = await createAgent(inner, { name: 'A', slug: 'a-slug' })
    const failed = inner.db.transaction().execute(async (tx) => {
      await tx.updateTable('agents').set({ name: 'B' }).where('id', '=', first.id).execute()
      await sql`select 1 / 0`.execute(tx)
    })
    await expect(failed).rejects.toThrow()
    return reply(201, { id: first.id })
  })
  const rows = await db.selectFrom('agents').select('name').where('workspace_id', '=', ctx.actor.workspaceId).execute()
  expect(rows).toEqual([{ name: 'A' }])
})

test('nobody is woken for what is not committed, and everybody is for what is', async () => {
  const ctx = await aContext()
  const heard: string[] = []
  const stop = ctx.wake.listen(({ kind }) => void heard.push(kind))
  const work = (fails: boolean) =>
    answerOnce(ctx, request(`k-${fails}`), async (inner) => {
      await createRecipe(inner, {
        name: 'R',
        steps: [{ id: 'a', kind: 'transform', value: 1 }],
        cron_schedule: '0 7 * * *',
      })
      expect(heard).toEqual([])
      if (fails) throw new Error('late')
      return reply(201, {})
    })
  await expect(work(true)).rejects.toThrow('late')
  expect(heard).toEqual([])
  await work(false)
  expect(heard).toEqual(['schedules-changed'])
  stop()
})

// On PGlite there is one connection, and the first request holds it.
test.runIf(isPostgres)('while the first is in progress its repetition is told to come again', async () => {
  const ctx = await aContext()
  const [begun, go] = [gate(), gate()]
  const first = answerOnce(ctx, request('k'), async () => {
    begun.open()
    await go.opened
    return reply(201, { n: 1 })
  })
  await begun.opened
  const second = answerOnce(ctx, request('k'), () => reply(201, { n: 2 }))
  await expect(second).rejects.toMatchObject({ kind: 'request-in-progress' })
  await expect(answerOnce(ctx, request('k', { other: 1 }), () => reply(201))).rejects.toMatchObject({
    kind: 'idempotency-key-reused',
  })
  go.open()
  await first
  expect((await answerOnce(ctx, request('k'), () => reply(201, { n: 3 }))).body).toEqual({ n: 1 })
})

test.runIf(isPostgres)('who wakes up after its lease finds its work taken over, and undone', async () => {
  const ctx = await aContext()
  const [begun, go] = [gate(), gate()]
  const late = answerOnce(ctx, request('k'), async (inner) => {
    await insertAgent(inner, 'late')
    begun.open()
    await go.opened
    return reply(201, { who: 'late' })
  })
  await begun.opened
  await db
    .updateTable('idempotency_keys')
    .set({ lease_until: sql<Date>`app_now()` })
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .execute()
  const taken = await answerOnce(ctx, request('k'), async (inner) => {
    await insertAgent(inner, 'next')
    return reply(201, { who: 'next' })
  })
  expect(taken.body).toEqual({ who: 'next' })
  go.open()
  await expect(late).rejects.toMatchObject({ kind: 'request-in-progress' })
  expect(await agentsOf(ctx.actor.workspaceId)).toBe(1)
  expect((await answerOnce(ctx, request('k'), () => reply(500))).body).toEqual({ who: 'next' })
})
