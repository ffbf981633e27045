import { expect, test } from 'vitest'
import { permissionsOf, type Role } from '../../../src/lib/permissions.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { callerCacheOf } from '../../../src/services/identity/caller-cache.ts'
import { identify } from '../../../src/services/identity/identify.ts'
import { skewSeconds } from '../../../src/services/identity/verify-token.ts'
import { findOrCreateUser } from '../../../src/services/identity/users.ts'
import { createTestDatabase } from '../../support/database.ts'
import type { TokenOptions } from '../../support/jwks-server.ts'
import { setUp as setUpTokens } from './token-bench.ts'

const database = await createTestDatabase()
const { db } = database

async function setUp() {
  const bench = await setUpTokens({}, database)
  const sub = `user-${crypto.randomUUID()}`
  const token = ({ claims, ...rest }: TokenOptions = {}) =>
    bench.provider.token({ ...rest, claims: { sub, ...claims } })
  const come = async (options: TokenOptions = {}, workspace: string | null = null) =>
    identify(bench.ctx, await token(options), workspace)
  const row = () => db.selectFrom('users').selectAll().where('subject', '=', sub).executeTakeFirstOrThrow()
  return { ...bench, sub, token, come, row }
}
async function newWorkspace() {
  const id = uuidv7()
  await db
    .insertInto('workspaces')
    .values({ id, slug: `w-${id.slice(-12)}`, name: 'W' })
    .execute()
  return { id, slug: `w-${id.slice(-12)}` }
}
const join = (workspace_id: string, user_id: string, role: Role) =>
  db.insertInto('memberships').values({ workspace_id, user_id, role }).execute()

const refused = expect.objectContaining({ kind: 'unauthenticated' })
const missing = expect.objectContaining({ kind: 'not-found' })

test('the first contact makes a user who owns a personal workspace', async () => {
  const { come, row } = await setUp()
  const caller = await come({ claims: { name: 'Ada Lovelace', email: 'ada@example.com' } })
  const user = await row()
  expect(user).toMatchObject({ issuer: 'https://id.example', name: 'Ada Lovelace', email: 'ada@example.com' })
  expect(caller).toMatchObject({
    kind: 'user',
    id: user.id,
    actor: { kind: 'user', id: user.id, workspaceId: user.personal_workspace_id },
    workspaceSlug: expect.stringMatching(/^ada-lovelace-[0-9a-f]{8}$/),
  })
  expect([...caller.actor.permissions]).toEqual(permissionsOf('owner', { isOperator: false }))
})

test('where sign-up is for members, an unknown subject is refused and a known one comes in', async () => {
  const { ctx, come, sub } = await setUp()
  const known = await come()
  ctx.config = { ...ctx.config, authSignUp: 'members' }
  expect((await come()).id).toBe(known.id)
  await expect(come({ claims: { sub: `stranger-${sub}` } })).rejects.toEqual(refused)
  const users = db.selectFrom('users').select('id').where('subject', '=', `stranger-${sub}`)
  expect(await users.execute()).toEqual([])
})

test('the id of a workspace is remembered once, however it is spelled', async () => {
  const { ctx, token, come } = await setUp()
  const { workspaceId } = (await come()).actor
  const same = await token()
  const caller = await identify(ctx, same, workspaceId)
  expect(identify(ctx, same, workspaceId.toUpperCase())).toBe(caller)
})

test('twenty first requests at once make one user and one workspace', async () => {
  const { ctx, sub, nowS, row } = await setUp()
  const count = async () =>
    Number(
      (
        await db
          .selectFrom('workspaces')
          .select(({ fn }) => fn.countAll().as('n'))
          .executeTakeFirstOrThrow()
      ).n,
    )
  const before = await count()
  const claims = {
    issuer: 'https://id.example',
    subject: sub,
    issuedAtS: nowS(),
    expiresAtS: nowS() + 60,
    email: undefined,
    name: undefined,
  }
  // Each of them has looked for the user before any has made one.
  const found = await Promise.all(Array.from({ length: 20 }, () => findOrCreateUser(ctx, claims, null)))
  const user = await row()
  expect(new Set(found.map(({ id }) => id))).toEqual(new Set([user.id]))
  expect(new Set(found.map(({ member }) => member?.workspaceId))).toEqual(new Set([user.personal_workspace_id]))
  expect(await count()).toBe(before + 1)
  const members = await db.selectFrom('memberships').selectAll().where('user_id', '=', user.id).execute()
  expect(members).toMatchObject([{ workspace_id: user.personal_workspace_id, role: 'owner' }])
})

test('people of one name and no name get workspaces of their own', async () => {
  const slugs = new Set<string>()
  for (const claims of [{ name: 'Ada' }, { name: 'Ada' }, { name: '愛' }, {}, { email: 'new@example.com' }]) {
    slugs.add((await (await setUp()).come({ claims })).workspaceSlug)
  }
  expect([...slugs].map((slug) => slug.replace(/-[0-9a-f]{8}$/, ''))).toEqual([
    'ada',
    'ada',
    'personal',
    'personal',
    'personal-new',
  ])
})

test('one subject of two issuers is two people', async () => {
  const [one, other] = [await setUp(), await setUp()]
  const first = await one.come()
  const ctx = { ...other.ctx, config: { ...other.ctx.config, authIssuer: 'https://other.example' } }
  const token = await other.provider.token({ claims: { sub: one.sub, iss: 'https://other.example' } })
  expect((await identify(ctx, token, null)).id).not.toBe(first.id)
})

test('name and address follow the newest token; one that is silent or older changes nothing', async () => {
  const { come, row, settle, nowS } = await setUp()
  const now = nowS()
  const says = async (iat: number, claims: object) => {
    await come({ claims: { iat, ...claims } })
    await settle()
    const { name, email } = await row()
    return [name, email]
  }
  expect(await says(now - 9, { name: 'Old', email: 'old@example.com' })).toEqual(['Old', 'old@example.com'])
  expect(await says(now - 5, { name: 'New' })).toEqual(['New', 'old@example.com'])
  expect(await says(now - 7, { name: 'Older', email: 'older@example.com' })).toEqual(['New', 'old@example.com'])
  expect(await says(now - 3, {})).toEqual(['New', 'old@example.com'])
})

test('a user acts in the workspace that is named, by id or slug, with the role held there', async () => {
  const { come } = await setUp()
  const { id } = await come()
  const workspace = await newWorkspace()
  await join(workspace.id, id, 'viewer')
  for (const name of [workspace.id, workspace.id.toUpperCase(), workspace.slug]) {
    const { actor } = await come({}, name)
    expect(actor.workspaceId).toBe(workspace.id)
    expect([...actor.permissions]).toEqual(permissionsOf('viewer', { isOperator: false }))
  }
  expect((await come()).actor.workspaceId).not.toBe(workspace.id)
})

test("others' workspaces, unknown and impossible ones get the same answer", async () => {
  const { come } = await setUp()
  await come()
  const foreign = await newWorkspace()
  await join(foreign.id, (await (await setUp()).come()).id, 'owner')
  const errors = []
  for (const name of [foreign.id, foreign.slug, uuidv7(), 'nowhere', '', ' ', 'é', `${foreign.id}, x`, "' or 1=1"]) {
    errors.push(await come({}, name).catch((error: unknown) => error))
  }
  expect(errors).toEqual(errors.map(() => missing))
  expect(new Set(errors.map(String)).size).toBe(1)
})

test('the first contact makes a user also where a workspace is named that is not theirs', async () => {
  const { come, row } = await setUp()
  await expect(come({}, uuidv7())).rejects.toEqual(missing)
  expect((await row()).personal_workspace_id).not.toBeNull()
})

test('a busy token answers without a promise, for each workspace, and never beyond its end', async () => {
  const { ctx, token, come, advance } = await setUp()
  const { id, actor } = await come()
  const workspace = await newWorkspace()
  await join(workspace.id, id, 'editor')
  const short = await token({ claims: { exp: Math.floor(ctx.clock.now().getTime() / 1000) + 3 } })
  const [personal, other] = [await identify(ctx, short, null), await identify(ctx, short, workspace.id)]
  expect(identify(ctx, short, null)).toBe(personal)
  expect(identify(ctx, short, workspace.id)).toBe(other)
  expect([personal.actor.workspaceId, other.actor.workspaceId]).toEqual([actor.workspaceId, workspace.id])
  advance(3_000)
  expect(identify(ctx, short, null)).toBeInstanceOf(Promise)
  advance(skewSeconds * 1000)
  await expect(Promise.resolve(identify(ctx, short, null))).rejects.toEqual(refused)
})

test('a change of membership counts within ten seconds, and at once where the user is forgotten', async () => {
  const { ctx, token, come, advance } = await setUp()
  const { id } = await come()
  const workspace = await newWorkspace()
  await join(workspace.id, id, 'admin')
  const busy = await token()
  const permissions = async () => [...(await identify(ctx, busy, workspace.id)).actor.permissions]
  const become = (role: 'viewer' | 'editor') =>
    db.updateTable('memberships').set({ role }).where('workspace_id', '=', workspace.id).execute()
  expect(await permissions()).toEqual(permissionsOf('admin', { isOperator: false }))
  await become('viewer')
  advance(9_999)
  expect(await permissions()).toEqual(permissionsOf('admin', { isOperator: false }))
  advance(1)
  expect(await permissions()).toEqual(permissionsOf('viewer', { isOperator: false }))
  await become('editor')
  callerCacheOf(ctx).forget(id)
  expect(await permissions()).toEqual(permissionsOf('editor', { isOperator: false }))
  await db.deleteFrom('memberships').where('workspace_id', '=', workspace.id).execute()
  callerCacheOf(ctx).forget(id)
  await expect(permissions()).rejects.toEqual(missing)
})

test('without a configured issuer no token counts', async () => {
  const { ctx, token } = await setUp()
  const keysOnly = { ...ctx, config: { ...ctx.config, authJwksUrl: null } }
  const someone = await token()
  expect(() => identify(keysOnly, someone, null)).toThrow(refused)
})
