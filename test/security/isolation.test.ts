import { afterAll, beforeAll, expect, test } from 'vitest'
import { jsonb } from '../../src/db/json.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { isOperators, isPermission, type Role } from '../../src/lib/permissions.ts'
import { createTestApp, type Client } from '../support/app.ts'
import { createIdentityProvider, createKey } from '../support/jwks-server.ts'
import { allRoles, People, type Ask } from './support/callers.ts'
import { cell, pageOf, type Statuses } from './support/matrix.ts'
import { fill, nowhere, operations, type WalkedOperation } from './support/operations.ts'
import { bodies, needs, queries, rows, rowsOf, stages } from './support/rows.ts'
import { mayCall } from './support/who-may.ts'
import { ordinary, World } from './support/world.ts'

/** Everything that answers without a key. It grows only on purpose. */
const publicOperations = new Set([
  'getWelcome',
  'getHealth',
  'getLiveness',
  'getReadiness',
  'getMetrics',
  'getRecipeSchema',
])
/** Needs no key, because the address itself is the secret; an unknown one is 404. */
const byAddress = new Set(['sendPing', 'postPing'])
/** Takes a proof of another kind than a key; tests of its own say which. */
const ownProof = new Set(['receiveWebhook', 'acceptInvitation'])
/** Parameters that are names which every workspace may use, and no ids. */
const names = new Set(['template', 'provider', 'setting'])
/** For people: a key is told so whatever it names. */
const forUsers = new Set(['leaveWorkspace', 'transferOwnership'])
/** Where a member who may call gets another answer than a success: the status, and why. */
const refusals: Record<string, [number, string]> = {
  testModel: [503, 'no provider is configured in the test'],
  joinByInvitation: [404, 'an invitation is for one address, and nobody of the walk has it'],
}

const provider = await createIdentityProvider()
const app = await createTestApp({ config: provider.config })
const people = new People(app, provider)
const named = operations.map((operation) => [operation.id, operation] as const)
const guarded = operations.filter(({ access }) => access !== 'public')
const found = new Map<string, Statuses>()
const foundByOperator = new Map<string, Partial<Statuses>>()

let world: World
let stranger: Client
let foreigner: Ask
let dead: [string, Ask][]
let visitor: Ask
let before: Map<string, string>

const nobody: Ask = (method, path, body, headers = {}) =>
  app.app.request(path, {
    method,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
const asKey =
  (client: Client): Ask =>
  (method, path, body, headers) =>
    client.request(method, path, body, headers)

beforeAll(async () => {
  world = await World.create(app)
  for (const operation of operations) {
    await world.valuesOf(operation)
    await world.bodyOf(operation)
  }
  await world.work()
  stranger = await app.signIn({ scopes: ordinary })
  foreigner = await newForeigner()
  const expired = await app.signIn({ workspace: world.workspaceId })
  const revoked = await app.signIn({ workspace: world.workspaceId })
  const past = new Date(Date.now() - 60_000)
  await app.db.updateTable('api_keys').set({ expires_at: past }).where('id', '=', expired.keyId).execute()
  await app.db.updateTable('api_keys').set({ revoked_at: past }).where('id', '=', revoked.keyId).execute()
  const forged = await provider.token({ key: await createKey('ES256', provider.key.kid) })
  dead = [
    ['an expired key', asKey(expired)],
    ['a revoked key', asKey(revoked)],
    [
      'a forged token',
      (method, path, body, headers) => nobody(method, path, body, { authorization: `Bearer ${forged}`, ...headers }),
    ],
  ]
  visitor = asKey(await app.signIn({ kind: 'widget', workspace: world.workspaceId, allowedDomains: ['shop.example'] }))
  before = await stateOf(world)
}, 120_000)

/** A key without scopes, and a member whose role grants nothing. */
async function powerlessIn(place: World, alone: boolean): Promise<Ask[]> {
  const role = {
    id: uuidv7(),
    workspace_id: place.workspaceId,
    slug: 'nothing',
    name: 'Nothing',
    permissions: jsonb([]),
  }
  await app.db
    .insertInto('roles')
    .values(role)
    .onConflict((c) => c.doNothing())
    .execute()
  const key = await app.signIn({ scopes: [], workspace: place.workspaceId })
  return [asKey(key), await people.as('nothing', place, alone)]
}

async function newForeigner(): Promise<Ask> {
  const { client } = await people.signIn()
  return (method, path, body, headers) => client.request(method, path, body, headers)
}

/** What the owner sees of each row. */
async function stateOf({ owner }: World): Promise<Map<string, string>> {
  const reads = guarded.filter(
    ({ method, path, streams, access }) => method === 'GET' && path.endsWith('}') && !streams && !isOperators(access),
  )
  const seen = new Map<string, string>()
  for (const operation of reads) seen.set(operation.id, await (await owner.get(await world.pathOf(operation))).text())
  return seen
}

/** Status and text; of a stream no more than that it began. */
async function answerOf(response: Response): Promise<{ status: number; text: string; headers: string }> {
  const headers = JSON.stringify([...response.headers])
  if (response.headers.get('content-type')?.startsWith('text/event-stream') && response.status === 200) {
    await response.body?.cancel()
    return { status: 200, text: '', headers }
  }
  return { status: response.status, text: await response.text(), headers }
}

async function send(ask: Ask, operation: WalkedOperation, from: World, values?: Record<string, string>, headers = {}) {
  const path = await from.pathOf(operation, values)
  return answerOf(await ask(operation.method, path, await from.bodyOf(operation), headers))
}
const statusOf = async (...of: Parameters<typeof send>) => (await send(...of)).status

test.each(named)('%s has a row for every parameter, so that no 404 is an accident', (_, { path, names, id }) => {
  for (const name of names) {
    const upTo = path.slice(0, path.indexOf(`{${name}}`) + name.length + 2)
    expect(
      rowsOf[id]?.[name] ?? rows[upTo] ?? rows[name],
      `{${name}} of ${path}: say in test/security/support/rows.ts what makes such a row`,
    ).toBeTypeOf('function')
  }
})

test('the tables of the walk name operations that there are', () => {
  const ids = new Set(operations.map(({ id }) => id))
  const told = [bodies, needs, queries, rowsOf, stages, refusals].flatMap((table) => Object.keys(table))
  expect([...told, ...publicOperations, ...byAddress, ...ownProof].filter((id) => !ids.has(id))).toEqual([])
})

test('what answers without a credential is what this file lists', () => {
  const open = operations.filter(({ access }) => access === 'public').map(({ id }) => id)
  expect(open.toSorted()).toEqual([...publicOperations, ...byAddress, ...ownProof].toSorted())
})

test.each(named)(
  '%s answers everybody as docs/authorization.md says',
  async (id, operation) => {
    const isOpen = operation.access === 'public'
    const none = await statusOf(nobody, operation, world)
    const ofDead = []
    for (const [, ask] of dead) ofDead.push(await statusOf(ask, operation, world))
    const ofPowerless = []
    // What any credential may do may be leaving, or signing out.
    const place = operation.access === 'authenticated' && operation.method !== 'GET' ? await World.create(app) : world
    for (const ask of await powerlessIn(place, place !== world)) ofPowerless.push(await statusOf(ask, operation, place))
    const ofVisitor = await statusOf(visitor, operation, world)
    if (!isOpen) {
      expect([none, ...ofDead], 'without a credential that counts').toEqual([401, 401, 401, 401])
      if (operation.access !== 'authenticated') expect(ofPowerless, 'without any permission').toEqual([403, 403])
      if (!operation.path.startsWith('/api/widgets')) expect(ofVisitor, 'with a widget key').toBe(403)
    }

    const ofRoles = await statusesOfRoles(operation)
    found.set(id, {
      nobody: String(none),
      dead: cell(ofDead),
      widget: String(ofVisitor),
      empty: cell(ofPowerless),
      ...ofRoles,
      foreign: isOpen ? '–' : await foreignCell(operation),
      naming: isOpen ? '–' : await namingCell(operation),
    })
  },
  60_000,
)

const operators = named.filter(([, { access }]) => isOperators(access))
test.each(operators)("%s is the operator's, by the roles of that workspace", async (id, operation) => {
  foundByOperator.set(id, await statusesOfRoles(operation, true))
})

/** What each role is answered, which is a success where the one table of roles says that it may. */
async function statusesOfRoles(operation: WalkedOperation, isOperator = false): Promise<Record<Role, string>> {
  const statuses = {} as Record<Role, string>
  for (const role of allRoles) {
    const may = mayCall(role, operation.access, { isOperator })
    const { status, text } = await asMember(operation, role, may, isOperator)
    statuses[role] = String(status)
    if (operation.access === 'public') continue
    const wanted = !may ? 403 : (refusals[operation.id]?.[0] ?? 200)
    const why = [404, 409, 422].includes(status)
      ? ' (give it a row in that state, or a body, in test/security/support/rows.ts)'
      : ''
    expect(wanted === 200 ? Math.floor(status / 100) * 100 : status, `as ${role}${why}: ${text.slice(0, 400)}`).toBe(
      wanted,
    )
  }
  return statuses
}

/** A member calls: what changes something has a workspace to itself. */
async function asMember(operation: WalkedOperation, role: Role, may: boolean, isOperator: boolean) {
  const isRead = operation.method === 'GET'
  const place = !isOperator && (isRead || !may) ? world : await World.create(app, { isOperator })
  // Who signs out takes nobody along.
  const alone = !isRead && operation.access === 'authenticated'
  const ask = await people.as(role, place, alone)
  const values = await place.valuesOf(operation)
  if (place !== world) await stages[operation.id]?.(place)
  return send(ask, operation, place, values)
}

/** Strangers send the ids of this workspace, and ids that nobody has: both are answered alike, and tell nothing. */
async function foreignCell(operation: WalkedOperation): Promise<string> {
  const values = await world.valuesOf(operation)
  const owned = operation.names.filter((name) => isId(values[name]!) && !names.has(name))
  const missing = { ...values, ...Object.fromEntries(owned.map((name) => [name, nowhere])) }
  const changes = operation.method !== 'GET'
  const statuses = []
  const strangers = changes
    ? [asKey(await app.signIn({ scopes: ordinary })), await newForeigner()]
    : [asKey(stranger), foreigner]
  for (const ask of strangers) {
    const foreign = await send(ask, operation, world, values)
    const sent = `${JSON.stringify(values)} ${JSON.stringify(await world.bodyOf(operation))}`
    for (const canary of world.canaries().filter((text) => !sent.includes(text)))
      expect(foreign.text + foreign.headers).not.toContain(canary)
    if (isOperators(operation.access)) {
      expect(foreign.status, foreign.text).toBe(403)
      statuses.push(403)
      continue
    }
    if (owned.length === 0) {
      statuses.push(foreign.status < 300 ? 'own' : foreign.status)
      continue
    }
    const other = await send(ask, operation, world, missing)
    if (foreign.status === 200) expect(JSON.parse(foreign.text), foreign.text).toMatchObject({ items: [] })
    else if (forUsers.has(operation.id) && ask !== strangers[1]) expect(foreign.status, foreign.text).toBe(403)
    else expect(foreign.status, foreign.text).toBe(404)
    expect(other.status).toBe(foreign.status)
    expect(withoutIds(foreign)).toEqual(withoutIds(other))
    statuses.push(foreign.status)
  }
  return cell(statuses)
}

/** Naming a workspace opens none: one that is there and one that is not are answered alike. */
async function namingCell(operation: WalkedOperation): Promise<string> {
  const statuses = []
  for (const ask of [asKey(stranger), foreigner]) {
    const answers = []
    for (const name of [world.workspaceId, crypto.randomUUID()]) {
      const headers = { 'x-workspace-id': name, 'x-request-id': 'same' }
      answers.push(await send(ask, operation, world, undefined, headers))
    }
    expect(answers[0]!.status).toBe(404)
    expect(withoutIds(answers[1]!)).toEqual(withoutIds(answers[0]!))
    statuses.push(answers[0]!.status)
  }
  return cell(statuses)
}

const isId = (text: string) => text.length >= 16
function withoutIds({ text, headers }: { text: string; headers: string }): string[] {
  return [text, headers].map((part) =>
    [...world.made]
      .filter(isId)
      .reduce((rest, id) => rest.replaceAll(id, nowhere), part)
      .replace(/"request_id":"[^"]+"/, '')
      .replace(/\["x-request-id","[^"]+"\],?/, '')
      .replace(/\["ratelimit[^\]]*\],?/g, ''),
  )
}

const signed = guarded.filter(({ path }) => /\/(ticket|link)$/.test(path))
test.each(signed.map((operation) => [operation.id, operation] as const))(
  "%s gives a stranger an address that opens nothing of another's",
  async (_, operation) => {
    const theirs = await World.create(app)
    const answer = await send(asKey(theirs.owner), operation, theirs)
    expect(answer.status, answer.text).toBe(200)
    const { search } = new URL((JSON.parse(answer.text) as { url: string }).url)
    for (const { method, path } of guarded) {
      const target = fill(path, await world.valuesOf(operations.find((each) => each.path === path)!))
      expect((await app.app.request(target + search, { method })).status, path).toBe(401)
    }
  },
)

test('an address that is a secret is answered to nobody who does not know it', async () => {
  for (const { path, method } of operations.filter(({ id }) => byAddress.has(id)))
    expect((await app.app.request(fill(path, {}), { method })).status, path).toBe(404)
})

test('after all that, nothing of the workspace has changed', async () => {
  expect(Object.fromEntries(await stateOf(world))).toEqual(Object.fromEntries(before))
})

test('docs/authorization.md is what was found', async () => {
  // All of it, or the page would shrink to what was asked for.
  expect(found.size, 'run the file as a whole').toBe(operations.length)
  await expect(pageOf(found, operations, foundByOperator)).toMatchFileSnapshot('../../docs/authorization.md')
})

test('every permission that an operation needs is one that there is', () => {
  for (const { access, id } of guarded) expect(access === 'authenticated' || isPermission(access), id).toBe(true)
})

afterAll(() => app.settle())
