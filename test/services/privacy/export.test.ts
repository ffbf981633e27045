import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { tarEnd, tarFile } from '../../../src/lib/tar.ts'
import { privacyService } from '../../../src/services/privacy/tick.ts'
import { createTestApp, type Client } from '../../support/app.ts'
import { fillWorkspace } from '../../support/filled-workspace.ts'
import { folderForTest } from '../../support/folder.ts'

const { db, runtime, signIn, app } = await createTestApp()
type Body = { [key: string]: any }
const json = async (response: Response) => (await response.json()) as Body
const path = '/api/privacy/exports'
const file = {
  run_id: null,
  name: 'zeros',
  media_type: 'application/octet-stream',
  size: 1024 * 1024,
  sha256: '0'.repeat(64),
  source: 'upload',
  stored: true,
  idempotency_key: null,
  request_hash: null,
  created_by: null,
  expires_at: null,
}

async function work() {
  for (let passes = 0; (await privacyService.tick(runtime)).more; passes++) expect(passes).toBeLessThan(100)
}

/** Every file of the archive, as the tar of the system unpacks it. */
async function unpack(bytes: Uint8Array): Promise<Map<string, string>> {
  const folder = await folderForTest()
  writeFileSync(join(folder, 'archive.tar.gz'), bytes)
  execFileSync('tar', ['-xzf', 'archive.tar.gz'], { cwd: folder })
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(folder, name)).isFile(),
  )
  return new Map(
    paths.filter((name) => name !== 'archive.tar.gz').map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
  )
}

async function archiveOf(client: Client, body: object = {}) {
  const made = await client.post(path, body)
  expect(made.status, await made.clone().text()).toBe(201)
  const { id } = await json(made)
  await work()
  expect(await json(await client.get(`${path}/${id}`))).toMatchObject({ status: 'ready', error: null })
  const { url } = await json(await client.post(`${path}/${id}/archive/link`))
  const response = await app.request(new Request(url as string))
  expect(response.status).toBe(200)
  return { id: id as string, files: await unpack(new Uint8Array(await response.arrayBuffer())) }
}

test('an archive of a workspace has its rows of every table and its files, and neither secrets nor rows of others', async () => {
  const filled = await fillWorkspace(db, { settled: true })
  const other = await fillWorkspace(db, { settled: true })
  for (const { workspaceId, fileId, runId, marker } of [filled, other]) {
    await runtime.blobs.put(`files/${workspaceId}/${fileId}`, new TextEncoder().encode(`the file ${marker}`))
    await runtime.blobs.put(`runs/${workspaceId}/${runId}/large.json`, new TextEncoder().encode(`the value ${marker}`))
  }
  const client = await signIn({ workspace: filled.workspaceId })
  const { files } = await archiveOf(client)
  const all = [...files.values()].join('\n')
  const manifest = JSON.parse(files.get('manifest.json')!) as Body
  expect(manifest).toMatchObject({ format: 'automatos-export-1', workspace_id: filled.workspaceId, user_id: null })

  const leftOut = ['idempotency_keys', 'privacy_exports', 'revoked_sessions', 'spent_tokens']
  const tables = new Set([...files.keys()].flatMap((name) => /^tables\/([^/]+)\//.exec(name)?.[1] ?? []))
  expect(filled.tables.filter((table) => !tables.has(table)).toSorted()).toEqual(
    leftOut.filter((table) => filled.tables.includes(table)),
  )
  expect(files.get(`blobs/files/${filled.fileId}`)).toBe(`the file ${filled.marker}`)
  expect(files.get(`blobs/runs/${filled.workspaceId}/${filled.runId}/large.json`)).toBe(`the value ${filled.marker}`)
  expect(all).not.toContain(other.marker)
  expect(all).not.toContain(other.workspaceId)

  const secrets = ['credentials.sealed', 'api_keys.hash', 'webhooks.secret', 'webhooks.previous_secret']
  secrets.push(
    'api_keys.previous_hash',
    'webhook_subscriptions.secret',
    'schedule_pings.token_hash',
    'invitations.token_hash',
  )
  expect(secrets.filter((column) => !filled.marked.includes(column))).toEqual([])
  for (const column of secrets) expect(all, column).not.toContain(`${filled.marker}:${column}"`)
  // Whatever else looks like one by its name is one.
  const suspicious = filled.marked.filter(
    (column) => /secret|sealed|token|password/.test(column) && !/^(model_usage|audit_logs)\./.test(column),
  )
  expect(suspicious.filter((column) => all.includes(`${filled.marker}:${column}"`))).toEqual([])
})

test('an archive of a person has what names them and nothing else', async () => {
  const client = await signIn()
  const userId = crypto.randomUUID()
  await db
    .insertInto('users')
    .values({
      id: userId,
      issuer: 'i',
      subject: userId,
      email: 'erika@example.com',
      name: null,
      claims_issued_at: new Date(),
      personal_workspace_id: null,
    } as never)
    .execute()
  expect((await client.post(path, { user_id: userId })).status).toBe(404)
  await db
    .insertInto('memberships')
    .values({ workspace_id: client.workspaceId, user_id: userId, role: 'viewer' })
    .execute()
  await client.post('/api/agents', { name: 'Not about her' })
  const { files } = await archiveOf(client, { user_id: userId })
  const names = [...files.keys()].map((name) => name.split('/').slice(0, 2).join('/')).toSorted()
  expect(names).toEqual(expect.arrayContaining(['manifest.json', 'tables/memberships', 'tables/users']))
  expect(names).not.toContain('tables/agents')
  expect([...files.values()].join()).toContain('erika@example.com')
})

test('an archive of more than a part is made over several passes, by whoever comes, and is one archive', async () => {
  const client = await signIn()
  const big = Buffer.from(crypto.getRandomValues(new Uint8Array(50_000))).toString('hex')
  for (let n = 0; n < 90; n++) await client.post('/api/agents', { name: `Agent ${n}`, system_prompt: big })
  const { id, files } = await archiveOf(client)
  const row = await db.selectFrom('privacy_exports').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
  expect(row.parts).toBeGreaterThan(1)
  const agents = [...files]
    .filter(([name]) => name.startsWith('tables/agents/'))
    .flatMap(([, text]) => text.trim().split('\n'))
  expect(new Set(agents.map((line) => (JSON.parse(line) as Body)['name'])).size).toBe(90)
})

test('large files are as many parts as they need, and a small archive does not wait for them', async () => {
  const client = await signIn()
  const { workspaceId } = client
  const ids = Array.from({ length: 45 }, () => uuidv7())
  for (const id of ids) {
    await db
      .insertInto('files')
      .values({ ...file, id, workspace_id: workspaceId } as never)
      .execute()
    await runtime.blobs.put(`files/${workspaceId}/${id}`, new Uint8Array(1024 * 1024))
  }
  const large = await json(await client.post(path, {}))
  await privacyService.tick(runtime)
  const other = await signIn()
  const small = await json(await other.post(path, {}))
  await privacyService.tick(runtime)
  expect(await json(await client.get(`${path}/${large['id']}`))).toMatchObject({ status: 'running' })
  expect(await json(await other.get(`${path}/${small['id']}`))).toMatchObject({ status: 'ready' })
  await work()
  const row = await db.selectFrom('privacy_exports').selectAll().where('id', '=', large['id']).executeTakeFirstOrThrow()
  expect(row).toMatchObject({ state: 'ready', parts: 12 })
  const parts: Uint8Array[] = []
  for (let part = 1; part <= row.parts; part++)
    parts.push((await runtime.blobs.get(`exports/${workspaceId}/${row.id}/${String(part).padStart(6, '0')}`))!)
  const files = await unpack(Buffer.concat(parts))
  expect(ids.filter((id) => files.get(`blobs/files/${id}`)?.length !== 1024 * 1024)).toEqual([])
})

test('a table of somebody else in the same schema is in no archive', async () => {
  const client = await signIn()
  await sql`create table somebody_elses (id integer primary key, workspace_id integer, note text)`.execute(db)
  const { files } = await archiveOf(client)
  await sql`drop table somebody_elses`.execute(db)
  expect(files.get('manifest.json')).not.toContain('somebody_elses')
})

test('it is only for who may, in its own workspace, and goes when it is deleted or over', async () => {
  const client = await signIn()
  const { id } = await archiveOf(client)
  const stranger = await signIn()
  const missing = crypto.randomUUID()
  for (const at of [id, missing]) {
    expect((await stranger.get(`${path}/${at}`)).status).toBe(404)
    expect((await stranger.get(`${path}/${at}/archive`)).status).toBe(404)
    expect((await stranger.del(`${path}/${at}`)).status).toBe(404)
  }
  const reader = await signIn({ workspace: client.workspaceId, scopes: ['workspaces:read', 'audit:read'] })
  expect((await reader.post(path, {})).status).toBe(403)
  expect((await reader.get(`${path}/${id}/archive`)).status).toBe(403)
  const part = `exports/${client.workspaceId}/${id}/000001`
  expect(await runtime.blobs.get(part)).not.toBeNull()
  expect((await client.del(`${path}/${id}`)).status).toBe(204)
  expect(await runtime.blobs.get(part)).toBeNull()

  const { id: second } = await archiveOf(client)
  await db
    .updateTable('privacy_exports')
    .set({ expires_at: new Date(0) })
    .where('id', '=', second)
    .execute()
  await work()
  expect((await client.get(`${path}/${second}`)).status).toBe(404)
  const doomed = await db.selectFrom('doomed_blobs').select('key').execute()
  expect(doomed.map(({ key }) => key)).toContain(`exports/${client.workspaceId}/${second}/000001`)
})

test('a tar of ours is read by the tar of the system, whatever its files are', async () => {
  const folder = await folderForTest()
  const long = `blobs/runs/${crypto.randomUUID()}/${crypto.randomUUID()}/${'a'.repeat(64)}.json`
  const files: [string, string][] = [
    ['empty', ''],
    ['block', 'x'.repeat(512)],
    ['more', 'y'.repeat(513)],
    [long, 'z'],
  ]
  const pieces = files.map(([name, text]) => tarFile(name, new TextEncoder().encode(text), new Date(1_700_000_000_000)))
  writeFileSync(join(folder, 'a.tar'), Buffer.concat([...pieces, tarEnd()]))
  execFileSync('tar', ['-xf', 'a.tar'], { cwd: folder })
  for (const [name, text] of files) expect(readFileSync(join(folder, name), 'utf8'), name).toBe(text)
})
