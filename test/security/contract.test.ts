import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { isOperators } from '../../src/lib/permissions.ts'
import { createTestApp, type Client } from '../support/app.ts'
import { createIdentityProvider } from '../support/jwks-server.ts'
import { allRoles, People, type Ask } from './support/callers.ts'
import { casesOf, type Case } from './support/hostile.ts'
import { document, operations, type WalkedOperation } from './support/operations.ts'
import { randomCase, type Given } from './support/random-case.ts'
import { World } from './support/world.ts'

// Every operation gets what is hostile: each parameter and each text in turn as somebody who may do everything, and random
// requests as everybody. FUZZ_RUNS=300 FUZZ_SEED=7 searches elsewhere, and longer.
const runs = Number(process.env['FUZZ_RUNS'] ?? 12)
const seed = Number(process.env['FUZZ_SEED'] ?? 1)

const provider = await createIdentityProvider()
const app = await createTestApp({ config: provider.config })
const people = new People(app, provider)

type Callers = [string, Ask][]
let other: World
/** Of an ordinary workspace, and of the operator's for what is the operator's. */
let callers: Record<'ordinary' | 'operator', Callers>
let canaries: string[]
const given = new Map<string, Given>()

const asKey =
  ({ key }: Pick<Client, 'key'>): Ask =>
  (method, path, body, headers) =>
    raw(method, path, body as string | undefined, { authorization: `Bearer ${key}`, ...headers })
const raw = (method: string, path: string, body: string | undefined, headers: Record<string, string>) =>
  app.app.request(path, { method, headers, ...(body !== undefined && { body }) })

beforeAll(async () => {
  const own = await World.create(app)
  const operator = await World.create(app, { isOperator: true })
  other = await World.create(app)
  for (const operation of operations) {
    const mine = isOperators(operation.access) ? operator : own
    given.set(operation.id, {
      own: { values: await mine.valuesOf(operation), body: await mine.bodyOf(operation) },
      other: {
        values: await other.valuesOf(operation),
        // Whoever sends a mark may find it again; the ids in it stay.
        body: unmarked(await other.bodyOf(operation)),
        workspaceId: other.workspaceId,
      },
    })
  }
  await own.work()
  canaries = other.canaries()
  callers = { ordinary: await callersOf(own), operator: await callersOf(operator) }
}, 120_000)

const unmarked = (body: unknown): unknown =>
  body === undefined ? undefined : JSON.parse(JSON.stringify(body).replaceAll(other.mark, 'elsewhere'))

async function callersOf(world: World): Promise<Callers> {
  const all: Callers = [['a key that may do everything', asKey(world.owner)]]
  for (const role of allRoles) {
    const { token } = await people.join(role, world)
    const named = { authorization: `Bearer ${token}`, 'x-workspace-id': world.workspaceId }
    all.push([
      role,
      (method, path, body, headers) => raw(method, path, body as string | undefined, { ...named, ...headers }),
    ])
  }
  return [
    ...all,
    ['a key without scopes', asKey(await app.signIn({ scopes: [], workspace: world.workspaceId }))],
    ['a widget key', asKey(await app.signIn({ kind: 'widget', workspace: world.workspaceId }))],
    ['nobody', (method, path, body, headers) => raw(method, path, body as string | undefined, headers ?? {})],
  ]
}

const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: false })
ajv.addSchema({ ...document, $id: 'api' })
const validators = new Map<string, ValidateFunction>()
function validatorOf({ path, method, id }: WalkedOperation, status: number): ValidateFunction {
  const at = `${id} ${status}`
  let known = validators.get(at)
  if (!known) {
    const pointer = `paths/${path.replaceAll('/', '~1')}/${method.toLowerCase()}/responses/${status}/content/application~1json/schema`
    validators.set(at, (known = ajv.compile({ $ref: `api#/${encodeURI(pointer)}` })))
  }
  return known
}

/** What the answer breaks of what was promised; null = nothing. */
async function faultOf(operation: WalkedOperation, ask: Ask, sent: Case): Promise<string | null> {
  const { path, headers = {}, body, type = 'application/json' } = sent
  const response = await ask(operation.method, path, body, {
    ...(body !== undefined && { 'content-type': type }),
    ...headers,
  })
  const { status } = response
  const kind = response.headers.get('content-type') ?? ''
  if (kind.startsWith('text/event-stream') && status === 200) {
    await response.body?.cancel()
    return null
  }
  const text = await response.text()
  const head = JSON.stringify([...response.headers])
  const documented = operation.responses[status]
  if (!documented) return `${status} is not documented: ${text.slice(0, 300)}`
  if (status >= 400) {
    if (!kind.startsWith('application/problem+json') && !isPlain(operation, status))
      return `${status} is no problem document but ${kind}`
    const problem = kind.startsWith('application/problem+json') ? (JSON.parse(text) as { type: string }) : { type: '' }
    if (status >= 500 && !/\/problems\/(model-)?not-configured$/.test(problem.type))
      return `${status}: ${text.slice(0, 300)} ${JSON.stringify(app.logged.filter(({ level }) => level === 'error').at(-1))}`
  } else if (kind.startsWith('application/json') && documented.content?.['application/json']?.schema) {
    const validate = validatorOf(operation, status)
    if (!validate(JSON.parse(text)))
      return `${status} is not what its schema says: ${ajv.errorsText(validate.errors)}: ${text.slice(0, 600)}`
  }
  // The operator may see what there is, and so may whoever sent it.
  if (isOperators(operation.access)) return null
  const asked = `${decoded(path)} ${JSON.stringify(headers)} ${body ?? ''}`
  const leaked = canaries.find((canary) => (text.includes(canary) || head.includes(canary)) && !asked.includes(canary))
  // What was taken in may come out again.
  if (status < 300 && operation.method !== 'GET') canaries = canaries.filter((canary) => !asked.includes(canary))
  return leaked === undefined ? null : `shows ${leaked} of another workspace: ${text.slice(0, 600)}`
}

/** Health and metrics tell of trouble in a form of their own. */
const isPlain = ({ responses }: WalkedOperation, status: number) =>
  !('application/problem+json' in (responses[status]?.content ?? {}))

function decoded(path: string): string {
  try {
    return `${path} ${decodeURIComponent(path)}`
  } catch {
    return path
  }
}

/** What takes rows or callers away comes last: they are needed until the end. */
const takesAway = ({ method, access }: WalkedOperation) =>
  method === 'GET' ? 0 : access === 'authenticated' ? 3 : method === 'DELETE' ? 2 : isOperators(access) ? 1 : 0
const walked = operations
  .toSorted((a, b) => takesAway(a) - takesAway(b))
  .map((operation) => [operation.id, operation] as const)

test('there is something to walk over', () => {
  expect(operations.length).toBeGreaterThan(90)
})

test.each(walked)(
  '%s keeps its contract, whatever is sent',
  async (id, operation) => {
    const faults: string[] = []
    const { own: mine } = given.get(id)!
    const everybody = callers[isOperators(operation.access) ? 'operator' : 'ordinary']
    const [, all] = everybody[0]!
    if (!operation.streams) {
      for (const sent of casesOf(operation, mine.values, mine.body)) {
        const fault = await faultOf(operation, all, sent)
        if (fault) faults.push(`${sent.about}: ${fault}`)
      }
    }
    expect(faults).toEqual([])
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...everybody),
        randomCase(operation, given.get(id)!),
        async ([who, ask], sent) => {
          const fault = await faultOf(operation, ask, sent)
          if (fault) throw new Error(`To ${who}: ${fault}`)
        },
      ),
      { seed, numRuns: runs, endOnFailure: true },
    )
  },
  60_000,
)

test('after all that, the other workspace is as it was', async () => {
  // A canary that nobody could have found, because the rows are gone, would prove nothing.
  for (const operation of operations.filter(({ method, path }) => method === 'GET' && path.endsWith('}'))) {
    const path = await other.pathOf(operation)
    if (operation.access === 'public' || isOperators(operation.access)) continue
    expect((await other.owner.get(path)).status, path).toBe(200)
  }
  expect(canaries).toContain(other.mark)
  expect(canaries).toContain(other.owner.key)
})
