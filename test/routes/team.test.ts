import { expect, test } from 'vitest'
import { createTestApp } from '../support/app.ts'
import { createIdentityProvider } from '../support/jwks-server.ts'
import { signInUser } from '../support/user.ts'

const provider = await createIdentityProvider()
const plain = await createTestApp()
const app = await createTestApp({ config: provider.config, database: plain.database })
const json = async (response: Response) => (await response.json()) as { [key: string]: any }
const team = '/api/workspaces/current/team'
const newUser = (claims: object = {}, of = app) => signInUser(of, provider, { claims: { ...claims } })
const asKey = (key: string) => ({ authorization: `Bearer ${key}` })
const bodyOf = async (response: Response) => {
  const { request_id: _, instance: __, ...body } = await json(response)
  return { status: response.status, ...body }
}

test('a team without an identity provider: an invitation gives a person a key, which acts as them', async () => {
  const owner = await plain.signIn()
  const made = await owner.post(`${team}/invitations`, { email: 'Ada@example.com', role: 'editor' })
  expect(made.status).toBe(201)
  const invitation = await json(made)
  expect(invitation).toMatchObject({ email: 'ada@example.com', state: 'pending', delivery: 'token' })
  expect(made.headers.get('location')).toBe(`/api/workspaces/${owner.workspaceId}/team/invitations/${invitation['id']}`)
  const accept = (body: object) => plain.post('/api/invitations/accept', body, { authorization: '' })
  const { token } = invitation
  const [unknown, another] = [
    await bodyOf(await accept({ token: `ainv_${'0'.repeat(64)}`, email: 'ada@example.com' })),
    await bodyOf(await accept({ token, email: 'eve@example.com' })),
  ]
  expect([unknown['status'], another]).toEqual([404, unknown])
  const accepted = await json(await accept({ token, email: 'ada@example.com', name: 'Ada' }))
  expect(accepted).toMatchObject({ workspace: { id: owner.workspaceId }, role: 'editor' })
  const person = asKey(accepted['key'])
  expect(await json(await plain.get('/api/auth/me', person))).toMatchObject({
    kind: 'user',
    user: { id: accepted['user_id'], email: 'ada@example.com', name: 'Ada' },
    workspace: { id: owner.workspaceId },
    role: 'editor',
  })
  expect((await plain.post('/api/workspaces', { name: 'Mine' }, person)).status).toBe(403)
  const { items } = await json(await owner.get(`${team}/members`))
  expect(items).toMatchObject([{ user_id: accepted['user_id'], role: 'editor', signs_in_with: 'key' }])
  const explained = (await json(await plain.get('/api/permissions/effective', person)))['items']
  expect(explained).toContainEqual({
    permission: 'agents:write',
    granted: true,
    source: { kind: 'role', role: 'editor', built_in: true },
    withheld: null,
  })
  expect((await plain.del(`${team}/members/${accepted['user_id']}`, person)).status).toBe(403)
  expect((await plain.post(`${team}/leave`, undefined, person)).status).toBe(204)
  expect((await plain.get('/api/auth/me', person)).status).toBe(401)
})

test('where users sign in, an invitation is accepted by a user, also by one who was never there and where only members come in', async () => {
  const members = await createTestApp({
    config: { ...provider.config, authSignUp: 'members' },
    database: plain.database,
  })
  const owner = await members.signIn()
  const invite = async (email: string) =>
    (await json(await owner.post(`${team}/invitations`, { email, role: 'viewer' })))['token']
  const token = await invite('new@example.com')
  const stranger = await newUser({ email: 'stranger@example.com' }, members)
  expect((await stranger.get('/api/auth/me')).status).toBe(401)
  const claiming = await newUser({ email: 'new@example.com', email_verified: false }, members)
  expect((await claiming.post('/api/invitations/join', { token })).status).toBe(401)
  const elsewhere = await newUser({ email: 'new@example.com', email_verified: false })
  expect((await elsewhere.post('/api/invitations/join', { token })).status).toBe(404)
  const user = await newUser({ email: 'New@example.com', name: 'New' }, members)
  const joined = await user.post('/api/invitations/join', { token })
  expect([joined.status, await json(joined)]).toEqual([
    200,
    { workspace: expect.objectContaining({ id: owner.workspaceId }), role: 'viewer' },
  ])
  expect((await user.me({ 'x-workspace-id': owner.workspaceId }))['role']).toBe('viewer')
  expect((await user.post('/api/invitations/join', { token })).status).toBe(404)
  const body = { token: await invite('more@example.com'), email: 'more@example.com' }
  expect((await members.post('/api/invitations/accept', body, { authorization: '' })).status).toBe(403)
  expect((await members.post('/api/invitations/join', { token: body.token })).status).toBe(403)
})

test('a user of several workspaces switches between them, and never to one of others', async () => {
  const [user, other] = [await newUser(), await newUser()]
  const home = (await user.me()).workspace
  const second = await json(await user.post('/api/workspaces', { name: 'Second' }))
  expect((await user.post(`/api/workspaces/${second['slug']}/switch`)).status).toBe(200)
  expect((await user.me()).workspace.id).toBe(second['id'])
  expect((await user.me({ 'x-workspace-id': home.id })).workspace.id).toBe(home.id)
  const foreign = (await other.me()).workspace.id
  expect((await user.post(`/api/workspaces/${foreign}/switch`)).status).toBe(404)
  expect((await plain.post(`/api/workspaces/${plain.workspaceId}/switch`)).status).toBe(403)
  // What is deleted is no place to act in by default.
  expect((await user.request('DELETE', `/api/workspaces/${second['id']}`)).status).toBe(200)
  expect((await user.me()).workspace.id).toBe(home.id)
  const there = { 'x-workspace-id': second['id'] }
  expect((await user.get('/api/workspaces/current', there)).status).toBe(200)
  expect((await user.post('/api/agents', { name: 'x', system_prompt: 'y' }, there)).status).toBe(403)
  expect((await user.post(`/api/workspaces/${second['id']}/restore`, undefined, there)).status).toBe(200)
  expect((await user.me()).workspace.id).toBe(second['id'])
})

test('a path that names another workspace than the one acted in answers as one that names none', async () => {
  const user = await newUser()
  const second = await json(await user.post('/api/workspaces', { name: 'Second' }))
  const answers: Record<string, unknown>[] = []
  for (const id of [second['id'], plain.workspaceId, crypto.randomUUID()]) {
    answers.push(await bodyOf(await user.get(`/api/workspaces/${id}/team/members`)))
  }
  expect(answers).toEqual(answers.map(() => answers[0]))
  expect(answers[0]!['status']).toBe(404)
  const there = { 'x-workspace-id': second['id'] }
  expect((await user.get(`/api/workspaces/${second['id']}/team/members`, there)).status).toBe(200)
})

test('changes are made in the state that was seen, and an invitation is made once for one key', async () => {
  const owner = await plain.signIn()
  const key = { 'idempotency-key': 'invite-1' }
  const body = { email: 'once@example.com', role: 'viewer' }
  const [first, again] = [
    await owner.post(`${team}/invitations`, body, key),
    await owner.post(`${team}/invitations`, body, key),
  ]
  expect(await json(again)).toEqual(await json(first))
  expect((await owner.post(`${team}/invitations`, body)).status).toBe(409)
  const role = { slug: 'reader', name: 'Reader', permissions: ['agents:read'] }
  expect((await owner.post(`${team}/roles`, role)).status).toBe(201)
  const tag = (await owner.get(`${team}/roles/reader`)).headers.get('etag')!
  expect((await owner.patch(`${team}/roles/reader`, { name: 'Other' }, { 'if-match': tag })).status).toBe(200)
  expect((await owner.patch(`${team}/roles/reader`, { name: 'Third' }, { 'if-match': tag })).status).toBe(412)
  expect((await owner.del(`${team}/roles/reader`, { 'if-match': tag })).status).toBe(412)
  expect((await owner.post(`${team}/roles`, { ...role, slug: 'x', permissions: ['no:such'] })).status).toBe(422)
  expect((await owner.post(`${team}/invitations`, { email: 'no address', role: 'viewer' })).status).toBe(422)
})

test("limits of others are for the operator's workspace alone, whatever a key says that it holds", async () => {
  const tenant = await plain.signIn({ scopes: ['workspaces:read', 'agents:write'] })
  const boss = await plain.signIn()
  const path = `/api/workspaces/${tenant.workspaceId}/limits`
  const limits = { plan: 'default', overrides: { agents: 0 } }
  // The scopes are there, the workspace is not the operator's.
  const false_ = await plain.signIn({ workspace: tenant.workspaceId, scopes: ['system:read', 'system:manage'] })
  expect((await false_.put(path, limits)).status).toBe(403)
  const { items } = await json(await false_.get('/api/permissions/effective'))
  expect(items).toContainEqual({ permission: 'system:manage', granted: false, source: null, withheld: 'operator_only' })
  expect((await boss.put(path, limits)).status).toBe(200)
  const refused = await tenant.post('/api/agents', { name: 'One', system_prompt: 'Be brief.' })
  expect([refused.status, (await json(refused))['type']]).toEqual([403, '/problems/limit-reached'])
  expect((await json(await tenant.get('/api/workspaces/current/limits')))['limits']['agents']).toEqual({
    limit: 0,
    used: 0,
  })
  expect((await boss.get(`/api/workspaces/${crypto.randomUUID()}/limits`)).status).toBe(404)
  expect((await boss.put('/api/plans/team', { name: 'Team', limits: { agents: 5 } })).status).toBe(200)
  expect((await boss.put('/api/plans/team', { name: 'Team', limits: { cats: 5 } })).status).toBe(422)
})

test('an invitation goes by mail where the installation sends any, and is then told to nobody else', async () => {
  const sent: { to: readonly string[]; text: string }[] = []
  const mailing = await createTestApp({
    config: { emailFrom: 'Automatos <no-reply@example.com>' },
    runtime: { smtp: async (mail) => void sent.push(mail) },
    database: plain.database,
  })
  const made = await json(await mailing.post(`${team}/invitations`, { email: 'mail@example.com', role: 'viewer' }))
  await mailing.settle()
  expect(made).toMatchObject({ delivery: 'email', token: null })
  expect(sent.map(({ to }) => to)).toEqual([['mail@example.com']])
  const token = /ainv_[0-9a-f]{64}/.exec(sent[0]!.text)![0]
  const accepted = await mailing.post(
    '/api/invitations/accept',
    { token, email: 'mail@example.com' },
    { authorization: '' },
  )
  expect(accepted.status).toBe(200)
  const handed = { email: 'hand@example.com', role: 'viewer', delivery: 'token' }
  expect((await json(await mailing.post(`${team}/invitations`, handed)))['token']).toMatch(/^ainv_/)
  expect(sent).toHaveLength(1)
})
