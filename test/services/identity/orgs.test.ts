import { expect, test } from 'vitest'
import { jsonb } from '../../../src/db/json.ts'
import { scopedTo } from '../../../src/db/scope.ts'
import { rolePermissions, type Permission, type Role } from '../../../src/lib/permissions.ts'
import { callerCacheOf } from '../../../src/services/identity/caller-cache.ts'
import { identify } from '../../../src/services/identity/identify.ts'
import { updateOrganization } from '../../../src/services/organization.service.ts'
import { createRole, deleteRole } from '../../../src/services/team.service.ts'
import { createTestDatabase } from '../../support/database.ts'
import { outcomes } from '../../support/team.ts'
import { setUp as setUpTokens } from './token-bench.ts'

const database = await createTestDatabase()
const { db } = database
const missing = expect.objectContaining({ kind: 'not-found' })

/** A provider of the kind of Clerk, and an organization of its own. */
async function setUp() {
  // As the product has it before it knows who asks.
  const bench = await setUpTokens({}, { db: database.engine })
  const { provider } = bench
  const { authJwksUrl: jwksUrl, authIssuer: issuer, authAudience: audience } = provider.config
  bench.ctx.config = {
    ...bench.ctx.config,
    authJwksUrl: null,
    authIssuers: [{ issuer, jwksUrl, kind: 'clerk', audience, authorizedParties: [] }],
  }
  const org = `org_${crypto.randomUUID()}`
  const come = async (
    sub: string,
    claims: object = { o: { id: org, rol: 'member', slg: 'acme' } },
    workspace: string | null = null,
  ) => {
    const token = await provider.token({ claims: { sub: `${org}-${sub}`, ...claims } })
    return identify(bench.ctx, token, workspace)
  }
  const as = (rol: string, id = org) => ({ o: { id, rol, slg: 'acme' } })
  const members = (workspaceId: string) =>
    db.selectFrom('memberships').select(['user_id', 'role']).where('workspace_id', '=', workspaceId).execute()
  return { ...bench, org, come, as, members }
}

test('the first token of an organization makes its workspace, and everyone in it acts there with a mapped role', async () => {
  const { come, as, members } = await setUp()
  const member = await come('m', as('member'))
  expect(member.workspaceSlug).toMatch(/^acme-[0-9a-f]{8}$/)
  expect([...member.actor.permissions]).toEqual(permissionsFor('editor'))
  const first = await come('a1', as('admin'))
  const second = await come('a2', as('org:admin'))
  const strange = await come('x', as('billing'))
  for (const caller of [first, second, strange]) expect(caller.actor.workspaceId).toBe(member.actor.workspaceId)
  const roles = new Map((await members(member.actor.workspaceId)).map(({ user_id, role }) => [user_id, role]))
  // Somebody must be able to manage the workspace: the first admin.
  expect([member, first, second, strange].map(({ id }) => roles.get(id))).toEqual([
    'editor',
    'owner',
    'admin',
    'viewer',
  ])
})

const permissionsFor = (role: Role) => rolePermissions[role].filter((permission) => !permission.startsWith('system:'))

test('any number of first tokens at once make one workspace', async () => {
  const { come, org } = await setUp()
  const all = await Promise.all(Array.from({ length: 10 }, (_, i) => come(`u${i % 5}`)))
  expect(new Set(all.map(({ actor }) => actor.workspaceId)).size).toBe(1)
  expect(await db.selectFrom('org_workspaces').select('org_id').where('org_id', '=', org).execute()).toHaveLength(1)
})

test('a token of another organization, or of none, acts elsewhere; what was given stays', async () => {
  const { come, as, org, members } = await setUp()
  const here = await come('u')
  const there = await come('u', as('member', `${org}-2`))
  const alone = await come('u', {})
  expect(new Set([here, there, alone].map(({ actor }) => actor.workspaceId)).size).toBe(3)
  expect(await members(here.actor.workspaceId)).toHaveLength(1)
  expect((await come('u', {}, here.workspaceSlug)).actor.workspaceId).toBe(here.actor.workspaceId)
  expect((await come('u', as('member'), alone.actor.workspaceId)).actor.workspaceId).toBe(alone.actor.workspaceId)
})

test('the organization gives the role once; what the team decides later stays', async () => {
  const { ctx, come, as } = await setUp()
  const { id, actor } = await come('u', as('member'))
  const membership = db
    .updateTable('memberships')
    .where('user_id', '=', id)
    .where('workspace_id', '=', actor.workspaceId)
  await membership.set({ role: 'viewer' }).execute()
  callerCacheOf(ctx).forget(id)
  expect([...(await come('u', as('admin'))).actor.permissions]).toEqual(permissionsFor('viewer'))
})

test('whom the team has removed the organization does not bring back', async () => {
  const { ctx, come, as } = await setUp()
  const { id, actor, workspaceSlug } = await come('u')
  await db.deleteFrom('memberships').where('user_id', '=', id).where('workspace_id', '=', actor.workspaceId).execute()
  callerCacheOf(ctx).forget(id)
  for (const workspace of [null, workspaceSlug, actor.workspaceId]) {
    await expect(come('u', as('admin'), workspace)).rejects.toEqual(missing)
  }
})

test('named by id or slug, the workspace lets in as it does unnamed; another one does not', async () => {
  const { come, as } = await setUp()
  const { actor, workspaceSlug } = await come('first')
  expect((await come('by-id', as('member'), actor.workspaceId.toUpperCase())).actor.workspaceId).toBe(actor.workspaceId)
  expect((await come('by-slug', as('member'), workspaceSlug)).actor.workspaceId).toBe(actor.workspaceId)
  const other = await setUp()
  const foreign = await other.come('x')
  await expect(come('u', as('admin'), foreign.actor.workspaceId)).rejects.toEqual(missing)
})

test('the same id at another issuer is another organization', async () => {
  const [one, other] = [await setUp(), await setUp()]
  const here = await one.come('u')
  const issuer = 'https://other.example'
  const issuers = other.ctx.config.authIssuers!.map((each) => ({ ...each, issuer }))
  other.ctx.config = { ...other.ctx.config, authIssuers: issuers }
  const there = await other.come('u', { iss: issuer, ...other.as('admin', one.org) })
  expect(there.actor.workspaceId).not.toBe(here.actor.workspaceId)
})

test('where only members come in, a token makes no workspace', async () => {
  const { ctx, come, as, org } = await setUp()
  const home = await come('u', {})
  ctx.config = { ...ctx.config, authSignUp: 'members' }
  expect((await come('u', as('admin'))).actor.workspaceId).toBe(home.actor.workspaceId)
  expect(await db.selectFrom('org_workspaces').select('org_id').where('org_id', '=', org).execute()).toEqual([])
  await expect(come('stranger', as('admin'))).rejects.toMatchObject({ kind: 'unauthenticated' })
})

test('the workspace of an organization that is being deleted lets nobody in, and makes no second one', async () => {
  const { ctx, come, as, org } = await setUp()
  const { actor } = await come('u')
  await db.updateTable('workspaces').set({ deleted_at: new Date() }).where('id', '=', actor.workspaceId).execute()
  callerCacheOf(ctx).forget(actor.workspaceId)
  await expect(come('new', as('admin'))).rejects.toEqual(missing)
  expect(await db.selectFrom('org_workspaces').select('org_id').where('org_id', '=', org).execute()).toHaveLength(1)
})

test('nobody lets others in with more than they have, by a name that is mapped, by one that is not, or by default', async () => {
  const { ctx, come, as } = await setUp()
  const first = await come('a', as('admin'))
  const { workspaceId } = first.actor
  const by = async (permissions: readonly Permission[]) => {
    const key = { ...keyOf(workspaceId), scopes: jsonb([...permissions]) }
    await db.insertInto('api_keys').values(key).execute()
    const actor = { kind: 'key' as const, id: key.id, workspaceId, permissions: new Set(permissions) }
    const held = { ...ctx, db: scopedTo(database.engine, workspaceId), actor }
    const to = (roleMap: Record<string, string>) => updateOrganization(held, { roleMap })
    return { held, to }
  }
  const owner = await by(rolePermissions.owner)
  const weak = await by(['members:manage', ...rolePermissions.viewer])
  const narrow = { admin: 'viewer', member: 'viewer', basic_member: 'viewer' }
  await owner.to({ ...narrow, boss: 'owner' })
  expect(
    await outcomes([
      weak.to({ ...narrow, boss: 'owner', billing: 'viewer' }),
      weak.to({}),
      weak.to({ boss: 'owner' }),
      weak.to({ ...narrow, boss: 'owner', billing: 'editor' }),
      owner.to({ boss: 'nobody' }),
    ]),
  ).toEqual(['ok', 'forbidden', 'forbidden', 'forbidden', 'invalid'])

  // Who comes in as an administrator where nobody owns becomes the owner.
  const admin = await by(rolePermissions.admin)
  const owns = db.updateTable('memberships').where('user_id', '=', first.id).where('workspace_id', '=', workspaceId)
  expect(await outcomes([admin.to({ ...narrow, billing: 'admin' })])).toEqual(['ok'])
  await owns.set({ role: 'viewer' }).execute()
  expect(await outcomes([admin.to({ ...narrow, boss: 'admin' })])).toEqual(['forbidden'])
  await owns.set({ role: 'owner' }).execute()

  // What counts in the operator's workspace alone is held against those who lack it.
  await db.updateTable('workspaces').set({ is_operator: true }).where('id', '=', workspaceId).execute()
  const all = await by(rolePermissions.owner.filter((permission) => !permission.startsWith('system:')))
  expect(await outcomes([all.to({ ...narrow, boss: 'admin' })])).toEqual(['forbidden'])
  expect(await outcomes([owner.to({ ...narrow, boss: 'admin' })])).toEqual(['ok'])
  await db.updateTable('workspaces').set({ is_operator: false }).where('id', '=', workspaceId).execute()
})

test('a role stays while the organization gives it', async () => {
  const { ctx, come, as } = await setUp()
  const { workspaceId } = (await come('a', as('admin'))).actor
  const key = keyOf(workspaceId)
  await db.insertInto('api_keys').values(key).execute()
  const actor = { kind: 'key' as const, id: key.id, workspaceId, permissions: new Set(rolePermissions.owner) }
  const held = { ...ctx, db: scopedTo(database.engine, workspaceId), actor }
  await createRole(held, 'current', { slug: 'clerk', name: 'Clerk', permissions: ['agents:read'] })
  await updateOrganization(held, { roleMap: { billing: 'clerk' } })
  const remove = () => deleteRole(held, { workspace: 'current', role: 'clerk', ifMatch: null })
  expect(await outcomes([remove()])).toEqual(['conflict'])
  await updateOrganization(held, { roleMap: {} })
  expect(await outcomes([remove()])).toEqual(['ok'])
})

const keyOf = (workspaceId: string) => {
  const id = crypto.randomUUID()
  const scopes = jsonb([...rolePermissions.owner])
  return { id, workspace_id: workspaceId, name: 'k', kind: 'server' as const, prefix: 'ak_srv_0', hash: id, scopes }
}
