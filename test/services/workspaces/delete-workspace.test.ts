import { sql } from 'kysely'
import { expect, test } from 'vitest'
import type { ServiceContext } from '../../../src/context.ts'
import { createMemoryBlobs } from '../../../src/runtime/memory-blobs.ts'
import { createAgent } from '../../../src/services/agents.service.ts'
import { createApiKey } from '../../../src/services/api-keys.service.ts'
import { storeFile } from '../../../src/services/files/store-file.ts'
import { identify } from '../../../src/services/identity/identify.ts'
import { createRecipe } from '../../../src/services/recipes.service.ts'
import { notedBlobs } from '../../../src/services/files/run-blobs.ts'
import { updateRetention } from '../../../src/services/retention.service.ts'
import { claimRuns } from '../../../src/services/runs/claim.ts'
import { startRun } from '../../../src/services/runs/start-run.ts'
import { schedulesTick } from '../../../src/services/schedules/tick.ts'
import { createRole, inviteMember, redeemInvitation, transferOwnership } from '../../../src/services/team.service.ts'
import { deleteWorkspace, restoreWorkspace, updateCurrentWorkspace } from '../../../src/services/workspaces.service.ts'
import { purgeWorkspace, tenancyService } from '../../../src/services/workspaces/purge.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createTeam, type TestTeam } from '../../support/team.ts'

const database = await createTestDatabase()
const { db } = database
const day = 86_400
const everyMinute = {
  name: 'Each minute',
  steps: [{ id: 'a', kind: 'wait', duration: '1s' }],
  cron_schedule: '* * * * *',
}

const tenantTables = async () =>
  (
    await sql<{ name: string }>`
      select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid
      where a.attname = 'workspace_id' and not a.attisdropped and c.relkind = 'r'
        and c.relnamespace = 'public'::regnamespace order by 1`.execute(db)
  ).rows.map(({ name }) => name)

/** In which tables there are rows of a workspace. */
async function traces(id: string): Promise<string[]> {
  const found = []
  for (const table of await tenantTables()) {
    const { rows } = await sql`select 1 from ${sql.table(table)} where workspace_id = ${id} limit 1`.execute(db)
    if (rows.length > 0) found.push(table)
  }
  return found
}

/** A workspace in which something was made of many kinds. */
async function furnished(blobs = createMemoryBlobs()) {
  const team = await createTeam(database)
  const ctx: ServiceContext = { ...team.ctx, blobs }
  const owner: ServiceContext = { ...(await team.member('owner')), blobs }
  await createAgent(owner, { name: 'Agent' })
  await createRecipe(owner, everyMinute)
  await createRole(owner, 'current', { slug: 'reader', name: 'Reader', permissions: ['agents:read'] })
  const { token } = await inviteMember(owner, 'current', { email: 'p@example.com', role: 'reader' })
  const person = await redeemInvitation(ctx, { token: token!, email: 'p@example.com' })
  await inviteMember(owner, 'current', { email: 'q@example.com', role: 'reader' })
  const key = await createApiKey(owner, { name: 'Key', kind: 'server', scopes: ['agents:read', 'agents:write'] })
  const { file } = await storeFile(owner, {
    name: 'a.txt',
    mediaType: 'text/plain',
    bytes: new TextEncoder().encode('marker'),
    source: 'upload',
  })
  const definition = { name: 'R', steps: [{ id: 'a', kind: 'wait', duration: '1h' }] } as never
  const run = await startRun(owner, { definition, trigger: { kind: 'api' }, input: {} })
  const runBlob = `runs/${team.workspaceId}/${run.id}/a`
  await notedBlobs({ db, blobs }).put(runBlob, new Uint8Array([1]))
  return { ...team, ctx, owner, key, person, run, blobs, keys: [`files/${team.workspaceId}/${file.id}`, runBlob] }
}
const claimable = async ({ workspaceId, ctx }: TestTeam) =>
  (await claimRuns(ctx.db, 'worker', 100, null)).runs.filter((run) => run.workspace_id === workspaceId).length
const dueSchedules = async (id: string) =>
  (await sql`select 1 from schedules where workspace_id = ${id} and next_fire_at is not null`.execute(db)).rows.length
const permissionsOfKey = async (ctx: ServiceContext, key: string) => [
  ...(await identify(ctx, key, null)).actor.permissions,
]

test('a deleted workspace can be read and restored, and nothing runs or is written there meanwhile', async () => {
  const place = await furnished()
  const { owner, ctx, key, workspaceId } = place
  expect(await permissionsOfKey(ctx, key.key)).toEqual(['agents:read', 'agents:write'])
  const deleted = await deleteWorkspace(owner, workspaceId, null)
  expect(Date.parse(deleted.purge_after!) - Date.parse(deleted.deleted_at!)).toBe(30 * day * 1000)
  expect(await deleteWorkspace(owner, workspaceId, null)).toEqual(deleted)
  expect(await permissionsOfKey(ctx, key.key)).toEqual(['agents:read'])
  expect(await dueSchedules(workspaceId)).toBe(0)
  expect(await claimable(place)).toBe(0)
  await expect(updateCurrentWorkspace(owner, { name: 'Other' })).rejects.toMatchObject({ kind: 'conflict' })
  await expect(updateRetention(owner, { executions_days: 1 }, null)).rejects.toMatchObject({ kind: 'conflict' })
  const heir = { workspace: 'current', member: place.person.user_id }
  await expect(transferOwnership(owner, heir)).rejects.toMatchObject({ kind: 'conflict' })
  const open = await sql`select 1 from invitations where workspace_id = ${workspaceId} and accepted_at is null
    and revoked_at is null`.execute(db)
  expect(open.rows).toEqual([])

  const restored = await restoreWorkspace(owner, 'current')
  expect([restored.deleted_at, restored.purge_after]).toEqual([null, null])
  expect(await permissionsOfKey(ctx, key.key)).toEqual(['agents:read', 'agents:write'])
  expect(await dueSchedules(workspaceId)).toBe(1)
  expect(await claimable(place)).toBeGreaterThan(0)
})

test('a pause of the workspace itself outlives deletion and restoration', async () => {
  const { owner, workspaceId } = await furnished()
  await db
    .insertInto('workspace_pauses')
    .values({ workspace_id: workspaceId, reason: 'Ours', paused_by: 'user:x' })
    .execute()
  await deleteWorkspace(owner, 'current', null)
  await restoreWorkspace(owner, 'current')
  const rows = await db
    .selectFrom('workspace_pauses')
    .select('reason')
    .where('workspace_id', '=', workspaceId)
    .execute()
  expect(rows).toEqual([{ reason: 'Ours' }])
})

test("the operator's workspace stays, and a path names no other workspace than that of the caller", async () => {
  const [{ owner, workspaceId }, other] = [await furnished(), await createTeam(database)]
  await expect(deleteWorkspace(owner, other.workspaceId, null)).rejects.toMatchObject({ kind: 'not-found' })
  await db.updateTable('workspaces').set({ is_operator: true }).where('id', '=', workspaceId).execute()
  await expect(deleteWorkspace(owner, workspaceId, null)).rejects.toMatchObject({ kind: 'conflict' })
})

test('when the grace is over nothing of the workspace is left, in no table and no store, and nothing of others is gone', async () => {
  const blobs = createMemoryBlobs()
  const [gone, stays] = [await furnished(blobs), await furnished(blobs)]
  // What makes the test worth something: rows of many tables.
  const before = await traces(stays.workspaceId)
  expect(before.length).toBeGreaterThan(12)
  await deleteWorkspace(gone.owner, 'current', null)
  await tenancyService.tick(gone.ctx)
  expect((await traces(gone.workspaceId)).length).toBeGreaterThan(12)

  await database.shiftClock({ seconds: 31 * day })
  try {
    await expect(restoreWorkspace(gone.owner, 'current')).rejects.toMatchObject({ kind: 'conflict' })
    for (let n = 0; n < 50; n++) if (!(await tenancyService.tick(gone.ctx)).more) break
    expect(await traces(gone.workspaceId)).toEqual([])
    const workspace = db.selectFrom('workspaces').select('id').where('id', '=', gone.workspaceId)
    expect(await workspace.execute()).toEqual([])
    // A person whom only an invitation made is known here alone; a user of a provider is known elsewhere too.
    const users = db.selectFrom('users').select('id').where('id', 'in', [gone.person.user_id, gone.owner.actor.id])
    expect(await users.execute()).toEqual([{ id: gone.owner.actor.id }])
    const steps = sql`select 1 from run_steps where run_id = ${gone.run.id} union all select 1 from run_events
      where run_id = ${gone.run.id}`
    expect((await steps.execute(db)).rows).toEqual([])
    expect(await Promise.all(gone.keys.map((key) => blobs.get(key)))).toEqual([null, null])
    await expect(Promise.resolve().then(() => identify(gone.ctx, gone.key.key, null))).rejects.toMatchObject({
      kind: 'unauthenticated',
    })
    expect(await traces(stays.workspaceId)).toEqual(before)
    expect((await Promise.all(stays.keys.map((key) => blobs.get(key)))).every(Boolean)).toBe(true)
  } finally {
    await database.shiftClock({ seconds: 0 })
  }
})

test('a purge goes on where another stopped, and several at once do no harm', async () => {
  const { ctx, workspaceId } = await furnished()
  const rows = Array.from({ length: 2_500 }, (_, n) => n)
  await sql`insert into files (id, workspace_id, name, media_type, size, sha256, source, stored)
    select gen_random_uuid(), ${workspaceId}, 'f', 'text/plain', 1, '', 'upload', true from generate_series(1, ${rows.length})`.execute(
    db,
  )
  const first = await purgeWorkspace(ctx, workspaceId)
  expect(first).toEqual({ done: expect.any(Number), more: true })
  expect(first.done).toBeLessThan(rows.length)
  for (let n = 0; n < 50; n++) {
    const reports = await Promise.all([purgeWorkspace(ctx, workspaceId), purgeWorkspace(ctx, workspaceId)])
    if (reports.every(({ more }) => !more)) break
  }
  expect(await traces(workspaceId)).toEqual([])
  expect(await purgeWorkspace(ctx, workspaceId)).toEqual({ done: 0, more: false })
})

test("a purge takes nothing of another product's, and one that fails is in nobody's way", async () => {
  const [stuck, gone] = [await furnished(), await furnished()]
  const ids = [stuck.workspaceId, gone.workspaceId]
  await sql`create table bookings (workspace_id uuid not null)`.execute(db)
  await sql`insert into bookings values (${gone.workspaceId})`.execute(db)
  await sql`create function refuse() returns trigger language plpgsql as 'begin raise exception $$Refused.$$; end'`.execute(
    db,
  )
  await sql`create trigger refuse before delete on agents for each row
    when (old.workspace_id = ${sql.lit(stuck.workspaceId)}) execute function refuse()`.execute(db)
  try {
    for (const { owner } of [stuck, gone]) await deleteWorkspace(owner, 'current', null)
    await sql`update workspaces set purge_after = case id when ${stuck.workspaceId} then timestamptz '2020-01-01'
      else timestamptz '2020-01-02' end where id in (${sql.join(ids)})`.execute(db)
    for (let n = 0; n < 50; n++) if (!(await tenancyService.tick(gone.ctx)).more) break
    const left = await db.selectFrom('workspaces').select('id').where('id', 'in', ids).execute()
    expect(left).toEqual([{ id: stuck.workspaceId }])
    expect(await traces(gone.workspaceId)).toEqual(['bookings'])
  } finally {
    await sql`drop table bookings`.execute(db)
    await sql`drop function refuse() cascade`.execute(db)
    await purgeWorkspace(stuck.ctx, stuck.workspaceId)
  }
})

test('slots of the time in which a workspace was deleted are accounted for once it is restored', async () => {
  const { owner, ctx, workspaceId } = await furnished()
  await deleteWorkspace(owner, 'current', null)
  await database.shiftClock({ seconds: 600 })
  try {
    await schedulesTick(ctx)
    const slots = () =>
      sql<{ status: string }>`select status from schedule_slots where workspace_id = ${workspaceId}`.execute(db)
    expect((await slots()).rows).toEqual([])
    await restoreWorkspace(owner, 'current')
    await schedulesTick(ctx)
    expect((await slots()).rows.length).toBeGreaterThan(0)
  } finally {
    await database.shiftClock({ seconds: 0 })
  }
})
