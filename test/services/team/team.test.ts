import { sql } from 'kysely'
import { expect, test } from 'vitest'
import type { ServiceContext } from '../../../src/context.ts'
import { identify } from '../../../src/services/identity/identify.ts'
import {
  changeMemberRole,
  createRole,
  deleteRole,
  getInvitation,
  getRole,
  inviteMember,
  joinByInvitation,
  leaveTeam,
  redeemInvitation,
  removeMember,
  resendInvitation,
  revokeInvitation,
  transferOwnership,
  updateRole,
} from '../../../src/services/team.service.ts'
import { createApiKey } from '../../../src/services/api-keys.service.ts'
import {
  deleteWorkspace,
  getWorkspace,
  listWorkspaces,
  switchWorkspace,
} from '../../../src/services/workspaces.service.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createTeam, outcomes } from '../../support/team.ts'

const database = await createTestDatabase()
const { db } = database
const kind = (name: string) => expect.objectContaining({ kind: name })
const change = (ctx: ServiceContext, member: ServiceContext, role: string) =>
  changeMemberRole(ctx, { workspace: 'current', member: member.actor.id, role, ifMatch: null })
const remove = (ctx: ServiceContext, member: ServiceContext) =>
  removeMember(ctx, { workspace: 'current', member: member.actor.id, ifMatch: null })
const invite = (ctx: ServiceContext, email: string, role = 'editor') =>
  inviteMember(ctx, 'current', { email, role, delivery: 'token' })

test('of two owners who leave, step down or are removed at once one stays, whichever way they go', async () => {
  const ways: ((one: ServiceContext, other: ServiceContext) => Promise<unknown>)[] = [
    (one) => leaveTeam(one, 'current'),
    (one) => change(one, one, 'admin'),
    (one, other) => remove(one, other),
  ]
  for (const first of ways) {
    for (const second of ways) {
      const team = await createTeam(database)
      const [a, b] = [await team.member('owner'), await team.member('owner')]
      await outcomes([first(a, b), second(b, a)])
      expect(Object.values(await team.roles()).filter((role) => role === 'owner')).toHaveLength(1)
    }
  }
})

test('the last owner cannot leave, be removed or step down, and can hand over', async () => {
  const team = await createTeam(database)
  const [owner, editor] = [await team.member('owner'), await team.member('editor')]
  expect(await outcomes([leaveTeam(owner, 'current'), change(owner, owner, 'viewer'), remove(owner, owner)])).toEqual([
    'conflict',
    'conflict',
    'conflict',
  ])
  expect(await outcomes([transferOwnership(editor, { workspace: 'current', member: owner.actor.id })])).toEqual([
    'forbidden',
  ])
  await transferOwnership(owner, { workspace: 'current', member: editor.actor.id })
  expect(await team.roles()).toEqual({ [owner.actor.id]: 'admin', [editor.actor.id]: 'owner' })
})

test('nobody gives a role that holds more than they do, nor changes a member who does', async () => {
  const team = await createTeam(database)
  const [owner, admin, other, viewer] = [
    await team.member('owner'),
    await team.member('admin'),
    await team.member('admin'),
    await team.member('viewer'),
  ]
  const refused = await outcomes([
    change(admin, viewer, 'owner'),
    change(admin, owner, 'viewer'),
    remove(admin, owner),
    invite(admin, 'x@example.com', 'owner'),
    createRole(admin, 'current', { slug: 'boss', name: 'Boss', permissions: ['workspaces:manage'] }),
    createRole(owner, 'current', { slug: 'boss', name: 'Boss', permissions: ['system:manage'] }),
  ])
  expect(refused).toEqual(refused.map(() => 'forbidden'))
  expect(await outcomes([change(admin, viewer, 'no-such')])).toEqual(['invalid'])
  await change(admin, viewer, 'editor')
  await change(admin, other, 'viewer')
  expect(await team.roles()).toMatchObject({ [viewer.actor.id]: 'editor', [other.actor.id]: 'viewer' })
})

test('what counts is what the caller holds once the team is locked, not what the request came with', async () => {
  const team = await createTeam(database)
  const [owner, admin, viewer] = [await team.member('owner'), await team.member('admin'), await team.member('viewer')]
  const { id } = await createApiKey(owner, { name: 'Key', kind: 'server', scopes: ['members:manage', 'agents:read'] })
  const key: ServiceContext = { ...owner, actor: { ...owner.actor, kind: 'key', id } }
  const acts = (ctx: ServiceContext) => [
    createRole(ctx, 'current', { slug: `r-${crypto.randomUUID()}`, name: 'R', permissions: ['agents:read'] }),
    createRole(ctx, 'current', { slug: `r-${crypto.randomUUID()}`, name: 'R', permissions: ['agents:write'] }),
  ]
  expect(await outcomes([...acts(key), ...acts(admin)])).toEqual(['ok', 'forbidden', 'ok', 'ok'])
  await change(owner, admin, 'viewer')
  await sql`update api_keys set revoked_at = app_now() where id = ${id}`.execute(db)
  const late = [admin, key].flatMap((ctx) => [
    change(ctx, viewer, 'editor'),
    invite(ctx, `${crypto.randomUUID()}@example.com`, 'viewer'),
    ...acts(ctx),
  ])
  expect(await outcomes(late)).toEqual(late.map(() => 'forbidden'))
})

test('a member sees just the name of a workspace where the role gives no reading of it', async () => {
  const [team, home] = [await createTeam(database), await createTeam(database)]
  const [owner, user] = [await team.member('owner'), await home.member('owner', { email: 'narrow@example.com' })]
  await createRole(owner, 'current', { slug: 'runner', name: 'Runner', permissions: ['agents:read'] })
  const { token } = await invite(owner, 'narrow@example.com', 'runner')
  const { workspace } = await joinByInvitation(user, token!)
  await expect(getWorkspace(user, workspace.id)).rejects.toEqual(kind('not-found'))
  const { items } = await listWorkspaces(user, { limit: 10 })
  expect(items.find(({ id }) => id === workspace.id)).toEqual({ ...workspace, role: 'runner' })
  expect(items.find(({ id }) => id === home.workspaceId)).toMatchObject({ settings: {}, role: 'owner' })
  expect(await switchWorkspace(user, workspace.id)).toEqual({ ...workspace, role: 'runner' })
})

test('members and invitations of other workspaces answer as those that do not exist', async () => {
  const [mine, theirs] = [await createTeam(database), await createTeam(database)]
  const [owner, stranger] = [await mine.member('owner'), await theirs.member('owner')]
  const invitation = await invite(stranger, 'a@example.com')
  const missing = '01939f3c-0000-7b3e-9d1a-2f6b8c4d5e6f'
  const told = async (work: Promise<unknown>, id: string) =>
    String(await work.catch((error: unknown) => error)).replaceAll(id, 'X')
  for (const id of [stranger.actor.id, missing]) {
    const at = { ...stranger, actor: { ...stranger.actor, id } }
    expect(await told(change(owner, at, 'viewer'), id)).toBe('AppError: The workspace has no member X.')
    expect(await told(remove(owner, at), id)).toBe('AppError: The workspace has no member X.')
  }
  for (const id of [invitation.id, missing]) {
    expect(await told(getInvitation(owner, 'current', id), id)).toBe('AppError: The workspace has no invitation X.')
    const revoked = revokeInvitation(owner, { workspace: 'current', invitation: id, ifMatch: null })
    expect(await told(revoked, id)).toBe('AppError: The workspace has no invitation X.')
  }
  const elsewhere = await Promise.all(
    [theirs.workspaceId, missing, 'nonsense'].map((workspace) => told(leaveTeam(owner, workspace), workspace)),
  )
  expect(new Set(elsewhere).size).toBe(1)
})

test('an invitation lets one in, however many accept it at once', async () => {
  const team = await createTeam(database)
  const owner = await team.member('owner')
  const { token } = await invite(owner, 'one@example.com')
  const ends = await outcomes(
    Array.from({ length: 10 }, () => redeemInvitation(team.ctx, { token: token!, email: 'One@Example.com' })),
  )
  expect(ends.toSorted()).toEqual([...Array.from({ length: 9 }, () => 'not-found'), 'ok'])
  expect(Object.values(await team.roles()).toSorted()).toEqual(['editor', 'owner'])
  const people = db.selectFrom('users').select('id').where('email', '=', 'one@example.com')
  expect(await people.execute()).toHaveLength(1)
})

test('unknown, used, revoked, replaced, ended, misaddressed and deleted: every way not to get in is told alike', async () => {
  const team = await createTeam(database)
  const owner = await team.member('owner')
  const [used, revoked, replaced, ended, other] = await Promise.all(
    ['used', 'revoked', 'replaced', 'ended', 'other'].map((name) => invite(owner, `${name}@example.com`)),
  )
  await redeemInvitation(team.ctx, { token: used!.token!, email: 'used@example.com' })
  await revokeInvitation(owner, { workspace: 'current', invitation: revoked!.id, ifMatch: null })
  const fresh = await resendInvitation(owner, { workspace: 'current', invitation: replaced!.id, delivery: 'token' })
  await sql`update invitations set expires_at = app_now() where id = ${ended!.id}`.execute(db)
  const doomed = await createTeam(database)
  const [heir, last] = [await doomed.member('owner'), 'last@example.com']
  const late = await invite(heir, last)
  await deleteWorkspace(heir, 'current', null)
  await sql`update invitations set revoked_at = null where id = ${late.id}`.execute(db)
  const errors = await Promise.all(
    [
      { token: `ainv_${'0'.repeat(64)}`, email: 'used@example.com' },
      { token: used!.token!, email: 'used@example.com' },
      { token: revoked!.token!, email: 'revoked@example.com' },
      { token: replaced!.token!, email: 'replaced@example.com' },
      { token: ended!.token!, email: 'ended@example.com' },
      { token: other!.token!, email: 'another@example.com' },
      { token: late.token!, email: last },
    ].map((input) => redeemInvitation(team.ctx, input).catch((error: unknown) => error)),
  )
  expect(errors).toEqual(errors.map(() => kind('not-found')))
  expect(new Set(errors.map(String)).size).toBe(1)
  expect(await outcomes([redeemInvitation(team.ctx, { token: fresh.token!, email: 'replaced@example.com' })])).toEqual([
    'ok',
  ])
  const stored = await db.selectFrom('invitations').selectAll().where('id', '=', other!.id).executeTakeFirstOrThrow()
  expect(JSON.stringify(stored)).not.toContain(other!.token!.slice(5))
})

test('a user is let in by the address that their token tells, once, with the role of the invitation', async () => {
  const [team, home] = [await createTeam(database), await createTeam(database)]
  const owner = await team.member('owner')
  const user = await home.member('owner', { email: 'Grace@Example.com' })
  const stranger = await home.member('owner')
  const { token } = await invite(owner, 'grace@example.com', 'viewer')
  await expect(joinByInvitation(stranger, token!)).rejects.toEqual(kind('not-found'))
  expect(await joinByInvitation(user, token!)).toMatchObject({ workspace: { id: team.workspaceId }, role: 'viewer' })
  expect((await team.roles())[user.actor.id]).toBe('viewer')
  await expect(joinByInvitation(user, token!)).rejects.toEqual(kind('not-found'))
  await expect(invite(owner, 'GRACE@example.com')).rejects.toEqual(kind('conflict'))
})

test('whoever leaves, is removed or gets another role has invited nobody', async () => {
  const team = await createTeam(database)
  const [owner, admin, second] = [await team.member('owner'), await team.member('admin'), await team.member('admin')]
  const [one, two] = [await invite(admin, 'one@example.com'), await invite(second, 'two@example.com')]
  await change(owner, admin, 'viewer')
  await leaveTeam(second, 'current')
  const states = await Promise.all([one, two].map(async ({ id }) => (await getInvitation(owner, 'current', id)).state))
  expect(states).toEqual(['revoked', 'revoked'])
})

test('the key of a person holds what their role gives now, and nothing once they are no member', async () => {
  const team = await createTeam(database)
  const owner = await team.member('owner')
  await createRole(owner, 'current', {
    slug: 'runner',
    name: 'Runner',
    permissions: ['recipes:read', 'recipes:execute'],
  })
  const { token } = await invite(owner, 'person@example.com', 'runner')
  const person = await redeemInvitation(team.ctx, { token: token!, email: 'person@example.com', name: 'A Person' })
  const caller = async () => (await identify(team.ctx, person.key, null)).actor
  expect(await caller()).toMatchObject({ kind: 'user', id: person.user_id, workspaceId: team.workspaceId })
  expect([...(await caller()).permissions]).toEqual(['recipes:read', 'recipes:execute'])
  const role = { workspace: 'current', role: 'runner', ifMatch: null }
  await updateRole({ ...owner, config: team.ctx.config }, { ...role, permissions: ['recipes:read'] })
  expect([...(await caller()).permissions]).toEqual(['recipes:read'])
  const member = { ...owner, actor: { ...owner.actor, id: person.user_id } }
  await change(owner, member, 'viewer')
  expect((await caller()).permissions.has('agents:read')).toBe(true)
  await remove(owner, member)
  await expect(Promise.resolve().then(caller)).rejects.toEqual(kind('unauthenticated'))
  // Nobody could find, and erase, who is in no team and at no identity provider.
  expect(await db.selectFrom('users').select('id').where('id', '=', person.user_id).execute()).toEqual([])
})

test('a role that is given, to a member or by an invitation, is not deleted, also where both happen at once', async () => {
  const team = await createTeam(database)
  const [owner, viewer] = [await team.member('owner'), await team.member('viewer')]
  const make = (slug: string) => createRole(owner, 'current', { slug, name: slug, permissions: ['agents:read'] })
  const drop = (role: string) => deleteRole(owner, { workspace: 'current', role, ifMatch: null })
  await make('reader')
  const invitation = await invite(owner, 'r@example.com', 'reader')
  await expect(drop('reader')).rejects.toEqual(kind('conflict'))
  await revokeInvitation(owner, { workspace: 'current', invitation: invitation.id, ifMatch: null })
  expect((await getRole(owner, 'current', 'reader')).in_use).toBe(0)
  const ends = await outcomes([change(owner, viewer, 'reader'), drop('reader')])
  expect([
    ['ok', 'conflict'],
    ['invalid', 'ok'],
  ]).toContainEqual(ends)
  expect(await outcomes([drop('editor'), make('owner'), make('No Slug')])).toEqual(['conflict', 'invalid', 'invalid'])
})

test('what was done to a team is in the log of its workspace', async () => {
  const team = await createTeam(database)
  const [owner, member] = [await team.member('owner'), await team.member('viewer')]
  const { token } = await invite(owner, 'log@example.com')
  await redeemInvitation(team.ctx, { token: token!, email: 'log@example.com' })
  await change(owner, member, 'editor')
  await remove(owner, member)
  const rows = await db
    .selectFrom('audit_logs')
    .select(['action', 'actor_id', 'target_id', 'after'])
    .where('workspace_id', '=', team.workspaceId)
    .orderBy('seq')
    .execute()
  expect(rows.map(({ action }) => action)).toEqual([
    'invitation.created',
    'invitation.accepted',
    'member.role_changed',
    'member.removed',
  ])
  expect(rows[2]).toMatchObject({ actor_id: owner.actor.id, target_id: member.actor.id, after: { role: 'editor' } })
  expect(JSON.stringify(rows)).not.toContain(token!.slice(5))
})
