import { sql } from 'kysely'
import { expect, inject, test } from 'vitest'
import type { Blobs } from '../../../src/context.ts'
import { jsonb } from '../../../src/db/json.ts'
import { scopedTo } from '../../../src/db/scope.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { recordAudit } from '../../../src/services/audit/record.ts'
import { filesService } from '../../../src/services/files.service.ts'
import { purgeWorkspace } from '../../../src/services/workspaces/purge.ts'
import { createTestApp } from '../../support/app.ts'
import { fillWorkspace, tablesWith, type Filled } from '../../support/filled-workspace.ts'

const stored = new Map<string, Uint8Array>()
const blobs: Blobs = {
  put: async (key, bytes) => void stored.set(key, bytes),
  get: async (key) => stored.get(key) ?? null,
  delete: async (key) => void stored.delete(key),
}
const { db, runtime, signIn, get, del } = await createTestApp({ runtime: { blobs } })

function putBlobs({ workspaceId, runId, fileId, exportId, marker }: Filled) {
  const bytes = new TextEncoder().encode(marker)
  stored.set(`files/${workspaceId}/${fileId}`, bytes)
  stored.set(`runs/${workspaceId}/${runId}/large.json`, bytes)
  stored.set(`exports/${workspaceId}/${exportId}/000001`, bytes)
}
const blobsWith = (text: string) =>
  [...stored]
    .filter(([key, bytes]) => key.includes(text) || new TextDecoder().decode(bytes).includes(text))
    .map(([key]) => key)

test('a purge reaches every text of every table and every blob of the workspace, and nothing of another', async () => {
  const gone = await fillWorkspace(db)
  const kept = await fillWorkspace(db)
  putBlobs(gone)
  putBlobs(kept)
  expect(gone.marked.length).toBeGreaterThan(100)
  expect((await tablesWith(db, gone.marker)).length).toBeGreaterThan(gone.tables.length / 2)
  const before = await tablesWith(db, kept.marker)

  for (let more = true, passes = 0; more; passes++) {
    expect(passes).toBeLessThan(100)
    more = (await purgeWorkspace(runtime, gone.workspaceId)).more
  }
  await filesService.tick(runtime)

  expect(await tablesWith(db, gone.marker)).toEqual([])
  expect(await tablesWith(db, gone.workspaceId)).toEqual([])
  // The end of a run that nobody waits for any more: two ids, until the tick finds no parent.
  expect((await tablesWith(db, gone.runId)).filter((table) => table !== 'child_ends')).toEqual([])
  expect(blobsWith(gone.marker)).toEqual([])
  expect(blobsWith(gone.workspaceId)).toEqual([])
  expect(await tablesWith(db, kept.marker)).toEqual(before)
  expect(blobsWith(kept.workspaceId)).toHaveLength(3)
})

async function aPerson() {
  const mark = crypto.randomUUID()
  const id = uuidv7()
  const texts = { email: `Erika.${mark}@example.com`, name: `Erika ${mark}`, subject: `subject-${mark}` }
  await db
    .insertInto('users')
    .values({
      id,
      issuer: 'https://login.example',
      ...texts,
      claims_issued_at: new Date(),
      personal_workspace_id: null,
    } as never)
    .execute()
  return { id, mark, ...texts }
}
const join = (workspace_id: string, user_id: string, role = 'owner') =>
  db.insertInto('memberships').values({ workspace_id, user_id, role }).execute()

test('an erased person is nowhere any more, and the logs that name them still verify', async () => {
  const client = await signIn()
  const { workspaceId } = client
  const person = await aPerson()
  const other = await aPerson()
  await join(workspaceId, person.id, 'editor')
  await join(workspaceId, other.id)
  const asPerson = {
    actor: { kind: 'user' as const, id: person.id, workspaceId, permissions: new Set<never>() },
    client: { address: '198.51.100.77' },
  }
  const agent = { type: 'agent', id: 'scout' }
  await recordAudit(db, asPerson, { action: 'agent.created', target: agent, after: { slug: 'scout' } })
  const named = { email: person.email.toLowerCase(), name: person.name }
  await recordAudit(db, keyOf(client), {
    action: 'invitation.created',
    target: { type: 'invitation', id: uuidv7() },
    after: named,
  })
  await recordAudit(db, keyOf(client), { action: 'agent.deleted', target: agent, before: { slug: 'scout' } })
  const elsewhere = await signIn()
  const anotherAddress = `not.${person.email}`
  for (const after of [
    { name: person.name.slice(0, 5) },
    { note: `Ask ${person.name}.` },
    { email: anotherAddress },
    { 'first name': person.name },
  ])
    await recordAudit(db, keyOf(client), { action: 'agent.updated', target: agent, after })
  await recordAudit(db, keyOf(elsewhere), { action: 'agent.updated', target: agent, after: { name: person.name } })
  await recordAudit(db, keyOf(elsewhere), {
    action: 'agent.updated',
    target: agent,
    after: { note: `\n${person.email}, please` },
  })
  const { exportId } = await decidedBy(person)
  await db
    .insertInto('invitations')
    .values({
      id: uuidv7(),
      workspace_id: workspaceId,
      email: person.email.toLowerCase(),
      role: 'editor',
      token_hash: crypto.randomUUID(),
      invited_by: 'x',
      expires_at: new Date(Date.now() + 60_000),
    } as never)
    .execute()

  const read = await get(`/api/privacy/users/${person.id}`)
  expect(await read.json()).toMatchObject({
    email: person.email,
    workspaces: [{ id: workspaceId, is_last_owner: false }],
  })
  const etag = read.headers.get('etag')!
  expect((await del(`/api/privacy/users/${person.id}`, { 'if-match': '"other"' })).status).toBe(412)
  expect((await del(`/api/privacy/users/${person.id}`, { 'if-match': etag })).status).toBe(204)

  // Texts that name them by the way, and whatever bears the same name where they never were.
  expect(await tablesWith(db, person.mark)).toEqual(['audit_logs'])
  expect(await tablesWith(db, person.email)).toEqual(['audit_logs'])
  expect(
    await db.selectFrom('doomed_blobs').select('key').where('key', 'like', `%/${exportId}/%`).execute(),
  ).not.toEqual([])
  const there = (await (await elsewhere.get('/api/audit-logs')).json()) as { items: { [key: string]: any }[] }
  expect(there.items.map(({ after }) => after)).toEqual([null, { name: person.name }])
  expect(await tablesWith(db, asPerson.client.address)).toEqual([])
  expect((await get(`/api/privacy/users/${person.id}`)).status).toBe(404)
  const log = (await (await client.get('/api/audit-logs')).json()) as { items: { [key: string]: any }[] }
  expect(log.items.map(({ action, redacted }) => [action, redacted])).toEqual([
    ...Array.from({ length: 4 }, () => ['agent.updated', []]),
    ['agent.deleted', []],
    ['invitation.created', ['change']],
    ['agent.created', ['address']],
  ])
  expect(log.items[6]).toMatchObject({
    actor: { kind: 'user', id: person.id },
    after: { slug: 'scout' },
    client_address: null,
  })
  expect(log.items[4]).toMatchObject({ before: { slug: 'scout' } })
  expect(await (await client.get('/api/audit-logs/verify')).json()).toMatchObject({
    valid: true,
    checked: 7,
    redacted: 2,
  })
  expect(await tablesWith(db, other.mark)).toEqual(['users'])
})

/** A workspace where the person has decided by a link, and what that left behind. */
async function decidedBy({ id, email }: { id: string; email: string }): Promise<Filled> {
  const filled = await fillWorkspace(db)
  const { workspaceId, runId } = filled
  const by = { kind: 'link', id: uuidv7(), name: email.toUpperCase() }
  const given = { decision: 'approved', decided_by: by }
  const own = sql`workspace_id = ${workspaceId}::text::uuid`
  const ofRun = sql`run_id = ${runId}::text::uuid`
  for (const change of [
    sql`update approvals set decided_by = ${jsonb(by)}, run_id = ${runId}::text::uuid where ${own}`,
    sql`update approval_links set issued_to = ${email} where ${own}`,
    sql`update run_events set data = ${jsonb({ path: 'ok', ...given })} where ${ofRun}`,
    sql`update run_steps set output = ${jsonb({ steps: [given] })} where ${ofRun}`,
    sql`update runs set output = ${jsonb(given)} where id = ${runId}::text::uuid`,
    sql`update idempotency_keys set answer = ${JSON.stringify({ body: { email } })} where ${own}`,
    sql`update privacy_exports set user_id = ${id}::text::uuid where ${own}`,
  ])
    expect((await change.execute(db)).numAffectedRows).toBe(1n)
  return filled
}

const keyOf = ({ keyId, workspaceId }: { keyId: string; workspaceId: string }) => ({
  actor: { kind: 'key' as const, id: keyId, workspaceId, permissions: new Set<never>() },
})

test('a person who alone owns what others work in stays until it is handed over', async () => {
  const { workspaceId } = await signIn()
  const owner = await aPerson()
  const editor = await aPerson()
  await join(workspaceId, owner.id)
  await join(workspaceId, editor.id, 'editor')
  expect((await del(`/api/privacy/users/${owner.id}`)).status).toBe(409)
  expect(await tablesWith(db, owner.mark)).toEqual(['users'])
  await db.updateTable('memberships').set({ role: 'owner' }).where('user_id', '=', editor.id).execute()
  expect((await del(`/api/privacy/users/${owner.id}`)).status).toBe(204)
})

test('the workspace of nobody else goes with the person', async () => {
  const { workspaceId } = await signIn()
  await db.updateTable('workspaces').set({ is_operator: false }).where('id', '=', workspaceId).execute()
  const person = await aPerson()
  await join(workspaceId, person.id)
  expect((await del(`/api/privacy/users/${person.id}`)).status).toBe(204)
  const row = await db.selectFrom('workspaces').selectAll().where('id', '=', workspaceId).executeTakeFirstOrThrow()
  expect(row.purge_after).not.toBeNull()
  const pauses = db.selectFrom('workspace_pauses').select('paused_by').where('workspace_id', '=', workspaceId)
  expect(await pauses.execute()).toEqual([{ paused_by: 'system:deletion' }])
})

// One connection cannot wait for another where there is only one.
test.runIf(inject('postgresUrl'))('an owner is not erased while the only other one is on the way out', async () => {
  const { workspaceId } = await signIn()
  const [one, other, third] = [await aPerson(), await aPerson(), await aPerson()]
  await join(workspaceId, one.id)
  await join(workspaceId, other.id)
  await join(workspaceId, third.id, 'viewer')
  let erased: Promise<Response> | undefined
  let ended = false
  await db.transaction().execute(async (tx) => {
    await tx.selectFrom('workspaces').select('id').where('id', '=', workspaceId).forNoKeyUpdate().execute()
    await tx.deleteFrom('memberships').where('user_id', '=', other.id).execute()
    erased = del(`/api/privacy/users/${one.id}`).finally(() => (ended = true))
    const isWaiting = sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    await expect.poll(async () => ended || (await isWaiting.execute(db)).rows.length > 0).toBe(true)
  })
  expect((await erased!).status).toBe(409)
  const owners = db.selectFrom('memberships').select('user_id').where('workspace_id', '=', workspaceId)
  expect(await owners.where('role', '=', 'owner').execute()).toEqual([{ user_id: one.id }])
})

test('whoever acts in a workspace cannot change or delete its log, nor forget people, whatever the query', async () => {
  const { workspaceId, ...client } = await signIn()
  await client.post('/api/agents', { name: 'Scout' })
  const own = scopedTo(runtime.db, workspaceId)
  expect(await own.selectFrom('audit_logs').select('seq').execute()).toHaveLength(1)
  const queries = [
    sql`update audit_logs set action = 'nothing.done'`,
    sql`delete from audit_logs`,
    sql`delete from audit_heads`,
    sql`select forget_person(${uuidv7()}::text::uuid, 'a@example.com', null)`,
  ]
  for (const query of queries)
    await expect(query.execute(own)).rejects.toThrow(/audit log|permission denied for function forget_person/)
  expect(await (await client.get('/api/audit-logs/verify')).json()).toMatchObject({ valid: true, checked: 1 })
})

test('only the operator of the installation erases people', async () => {
  const person = await aPerson()
  const owner = await signIn({ scopes: ['workspaces:manage', 'members:manage', 'privacy:export', 'system:read'] })
  expect((await owner.get(`/api/privacy/users/${person.id}`)).status).toBe(403)
  expect((await owner.del(`/api/privacy/users/${person.id}`)).status).toBe(403)
  expect((await del(`/api/privacy/users/${uuidv7()}`)).status).toBe(404)
})
