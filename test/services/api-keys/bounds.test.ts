import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ServiceContext } from '../../../src/context.ts'
import { AppError } from '../../../src/lib/errors.ts'
import { rangesHold } from '../../../src/lib/net/ranges.ts'
import { permissions, type Permission } from '../../../src/lib/permissions.ts'
import { jsonb } from '../../../src/db/json.ts'
import { createApiKey, revokeApiKey, rotateApiKey, updateApiKey } from '../../../src/services/api-keys.service.ts'
import { sessionOfKey } from '../../../src/services/identity/verify-key.ts'
import { removeMember } from '../../../src/services/team.service.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'
import { createTeam, outcomes } from '../../support/team.ts'

const database = await createTestDatabase()
const base = await createServiceContext(database)
/** Nobody's key, so bound by nothing but the default rate. */
const operator: ServiceContext = { ...base, actor: { ...base.actor, kind: 'system' } }
const { limit, windowSeconds } = base.config.rateLimitAuthenticated
const defaultRate = (limit * 60) / windowSeconds

const years = [2090, 2095, 2099].map((year) => new Date(Date.UTC(year, 0, 1)))
const ranges = ['10.0.0.0/8', '10.1.0.0/16', '10.1.2.0/24', '10.1.2.3', '192.0.2.0/24', '2001:db8::/32', '2001:db8::1']
/** One within each range and some without. */
const addresses = [
  '10.255.0.1',
  '10.1.9.9',
  '10.1.2.9',
  '10.1.2.3',
  '192.0.2.7',
  '2001:db8:1::',
  '2001:db8::1',
  '8.8.8.8',
]
const few: Permission[] = ['agents:read', 'agents:write', 'recipes:read', 'recipes:execute']

const limits = {
  expiresAt: fc.option(fc.constantFrom(null, ...years), { nil: undefined }),
  rateLimit: fc.option(fc.constantFrom(null, 1, 60, defaultRate, defaultRate + 1, 1_000_000), { nil: undefined }),
  allowedIps: fc.option(fc.uniqueArray(fc.constantFrom(...ranges), { maxLength: 3 }), { nil: undefined }),
}
const wish = fc.record({ scopes: fc.subarray(few), ...limits })

type Row = Awaited<ReturnType<typeof rowOf>>
const rowOf = (id: string) =>
  database.db.selectFrom('api_keys').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
const endOf = ({ expires_at }: Row) => expires_at?.getTime() ?? Infinity
const rateOf = ({ rate_limit }: Row) => rate_limit ?? defaultRate
const reach = ({ allowed_ips }: Row) =>
  allowed_ips.length === 0 ? addresses : addresses.filter(rangesHold(allowed_ips))

function expectNoStronger(made: Row, maker: Row) {
  expect(made.workspace_id).toBe(maker.workspace_id)
  expect(maker.scopes).toEqual(expect.arrayContaining(made.scopes))
  expect(endOf(made)).toBeLessThanOrEqual(endOf(maker))
  // Without a limit of its own a key may hand on what any key has, and no more.
  expect(rateOf(made)).toBeLessThanOrEqual(maker.rate_limit ?? defaultRate)
  expect(reach(maker)).toEqual(expect.arrayContaining(reach(made)))
}

async function actingAs(row: Row): Promise<ServiceContext> {
  return {
    ...base,
    actor: {
      kind: 'key',
      id: row.id,
      workspaceId: row.workspace_id,
      permissions: new Set([...(row.scopes as Permission[]), 'api-keys:manage']),
    },
  }
}
/** Null where it was refused, which is always allowed; any other failure is not. */
const unlessRefused = <T>(work: Promise<T>): Promise<T | null> =>
  work.catch((error: unknown) => {
    if (error instanceof AppError && error.kind === 'forbidden') return null
    throw error
  })

test('a key that a key makes is never stronger in any dimension, over any number of generations', async () => {
  await fc.assert(
    fc.asyncProperty(wish, fc.array(wish, { minLength: 1, maxLength: 3 }), async (first, later) => {
      const root = await createApiKey(operator, { name: 'root', kind: 'server', ...first })
      let maker = await rowOf(root.id)
      for (const input of later) {
        const made = await unlessRefused(createApiKey(await actingAs(maker), { name: 'k', kind: 'server', ...input }))
        if (made === null) continue
        const row = await rowOf(made.id)
        expectNoStronger(row, maker)
        maker = row
      }
    }),
    { numRuns: 60 },
  )
})

test('what a key changes, or gets to know by a rotation, is never stronger than itself and what was there', async () => {
  await fc.assert(
    fc.asyncProperty(wish, wish, fc.record(limits), async (mine, theirs, changes) => {
      const make = async (input: typeof mine) =>
        rowOf((await createApiKey(operator, { name: 'k', kind: 'server', ...input })).id)
      const [actor, before] = [await make(mine), await make(theirs)]
      const ctx = await actingAs(actor)
      await unlessRefused(updateApiKey(ctx, before.id, changes))
      const after = await rowOf(before.id)
      expect(after.scopes).toEqual(before.scopes)
      expect(endOf(after)).toBeLessThanOrEqual(Math.max(endOf(actor), endOf(before)))
      expect(rateOf(after)).toBeLessThanOrEqual(Math.max(actor.rate_limit ?? defaultRate, rateOf(before)))
      if (reach(after).some((address) => !reach(before).includes(address))) {
        expect(reach(actor)).toEqual(expect.arrayContaining(reach(after)))
      }
      if ((await unlessRefused(rotateApiKey(ctx, before.id, { overlapSeconds: 0 }))) !== null) {
        expectNoStronger(await rowOf(before.id), actor)
      }
    }),
    { numRuns: 40 },
  )
})

test('only the operator, and a key that has as much, gives more requests a minute than the default', async () => {
  const more = { name: 'k', kind: 'server' as const, scopes: [], rateLimit: defaultRate + 1 }
  const without = permissions.filter((permission) => permission !== 'system:manage')
  const user: ServiceContext = { ...base, actor: { ...base.actor, kind: 'user', permissions: new Set(without) } }
  await expect(createApiKey(user, more)).rejects.toMatchObject({
    kind: 'forbidden',
    errors: [{ pointer: '/rate_limit' }],
  })
  expect(await createApiKey(user, { ...more, rateLimit: defaultRate })).toMatchObject({ rate_limit: defaultRate })
  const fast = await rowOf((await createApiKey(operator, { ...more, rateLimit: 5_000 })).id)
  expect(await createApiKey(await actingAs(fast), { ...more, rateLimit: 5_000 })).toMatchObject({ rate_limit: 5_000 })
  await expect(createApiKey(await actingAs(fast), { ...more, rateLimit: 5_001 })).rejects.toMatchObject({
    kind: 'forbidden',
  })
})

test('a key with a budget of its own makes none that would spend beside it, and gets to know none', async () => {
  const maker = await rowOf((await createApiKey(operator, { name: 'k', kind: 'server', scopes: few })).id)
  await database.db
    .insertInto('budgets')
    .values({
      id: crypto.randomUUID(),
      workspace_id: maker.workspace_id,
      level: 1,
      scope_id: maker.id,
      limit_usd: '1',
      period: 'total',
      window_start: new Date(),
    } as never)
    .execute()
  const ctx = await actingAs(maker)
  const other = await createApiKey(operator, { name: 'k', kind: 'server', scopes: [] })
  const rotate = (id: string) => rotateApiKey(ctx, id, { overlapSeconds: 0 })
  expect(
    await outcomes([createApiKey(ctx, { name: 'k', kind: 'server', scopes: [] }), rotate(other.id), rotate(maker.id)]),
  ).toEqual(['forbidden', 'forbidden', 'ok'])
})

test('a key that makes keys and whoever ends it wait for each other in one order', async () => {
  const team = await createTeam(database)
  const owner = await team.member('owner')
  const limits = { api_keys: 1_000 }
  await database.db
    .updateTable('workspaces')
    .set({ limits: jsonb(limits) })
    .where('id', '=', team.workspaceId)
    .execute()
  for (let round = 0; round < 8; round++) {
    const member = await team.member('admin')
    const { id } = await createApiKey(owner, { name: 'k', kind: 'server', scopes: [] })
    await database.db.updateTable('api_keys').set({ user_id: member.actor.id }).where('id', '=', id).execute()
    const byKey: ServiceContext = { ...member, actor: { ...member.actor, sessionId: sessionOfKey(id) } }
    const make = () => createApiKey(byKey, { name: 'made', kind: 'server', scopes: [] })
    const removal = { workspace: 'current', member: member.actor.id, ifMatch: null }
    const end = round % 2 === 0 ? () => removeMember(owner, removal) : () => revokeApiKey(owner, id)
    const [ended, ...made] = await outcomes([end(), make(), make(), updateApiKey(owner, id, { rateLimit: 9 })])
    expect(ended).toBe('ok')
    for (const outcome of made) expect(['ok', 'unauthenticated', 'forbidden', 'conflict']).toContain(outcome)
  }
})
