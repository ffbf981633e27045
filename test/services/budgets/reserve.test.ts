import fc from 'fast-check'
import { sql } from 'kysely'
import { afterAll, expect, test } from 'vitest'
import { jsonb } from '../../../src/db/json.ts'
import { addDecimals, reaches } from '../../../src/lib/decimal.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { reserve, type Verdict } from '../../../src/services/budgets/reserve.ts'
import { lapseReservations, settle } from '../../../src/services/budgets/settle.ts'
import { tellAlerts } from '../../../src/services/budgets/tell-alerts.ts'
import { createBudget, updateBudget } from '../../../src/services/budgets/write.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const database = await createTestDatabase()
afterAll(() => database.close())
const { db, engine } = database

async function aWorkspace(): Promise<string> {
  const id = uuidv7()
  await db
    .insertInto('workspaces')
    .values({ id, slug: `w-${id}`, name: 'A workspace' })
    .execute()
  return id
}

interface Made {
  id: string
  scope: string
}
async function aBudget(
  workspace: string,
  limit: string,
  more: { level?: number; thresholds?: number[] } = {},
): Promise<Made> {
  const { level = 0, thresholds = [] } = more
  const [id, scope] = [uuidv7(), level === 0 ? workspace : uuidv7()]
  await sql`
    insert into budgets (id, workspace_id, level, scope_id, limit_usd, period, zone, thresholds, window_start, window_end)
    values (${id}, ${workspace}, ${level}::integer, ${scope}, ${limit}::text::numeric, 'day', 'UTC', ${jsonb(thresholds)},
      date_trunc('day', app_now() at time zone 'UTC') at time zone 'UTC',
      (date_trunc('day', app_now() at time zone 'UTC') + interval '1 day') at time zone 'UTC')`.execute(db)
  return { id, scope }
}
const figures = async ({ id }: Made) => {
  const { rows } = await sql<{ spent: string; reserved: string; calls: number; unpriced: number }>`
    select trim_scale(spent)::text as spent, trim_scale(reserved)::text as reserved, calls, unpriced
    from budgets where id = ${id}`.execute(db)
  return rows[0]!
}
const held = async (workspace: string) => {
  const { rows } = await sql`select from budget_reservations where workspace_id = ${workspace}`.execute(db)
  return rows.length
}

const call = (workspace: string, scopes: string[], amount: string | null, key: string = uuidv7(), attempt = 1) => ({
  key,
  attempt,
  workspaceId: workspace,
  scopes,
  inner: 0,
  amount,
  lapsesAfterSeconds: 600,
})
const kindOf = (verdict: Verdict) => (verdict.kind === 'refused' ? verdict.refusal.reason : verdict.kind)

test('two hundred calls at the edge of a budget go beyond it by one reservation at most', async () => {
  const workspace = await aWorkspace()
  const budget = await aBudget(workspace, '1')
  const verdicts = await Promise.all(
    Array.from({ length: 200 }, () => reserve(engine, call(workspace, [workspace], '0.07'))),
  )
  const kinds = verdicts.map(kindOf)
  expect(kinds.filter((kind) => kind === 'reserved')).toHaveLength(15)
  expect(kinds.filter((kind) => kind === 'busy')).toHaveLength(185)
  expect(await figures(budget)).toMatchObject({ spent: '0', reserved: '1.05' })
  expect(await held(workspace)).toBe(15)
})

test('calls that share budgets in any order end, and every sum is exact', async () => {
  const workspace = await aWorkspace()
  const all = [await aBudget(workspace, '1000')]
  for (const level of [1, 1, 2, 3, 5]) all.push(await aBudget(workspace, '1000', { level }))
  const scopes = all.map(({ scope }) => scope)
  await Promise.all(
    Array.from({ length: 120 }, async (_, n) => {
      // Each with another part of the tree, named in another order.
      const some = scopes.filter((_scope, index) => index === 0 || (n >> (index % 4)) % 2 === 0)
      const one = call(workspace, n % 2 ? some : some.toReversed(), '0.5')
      expect((await reserve(engine, one)).kind).toBe('reserved')
      await settle(engine, one, '0.001', false)
    }),
  )
  expect(await figures(all[0]!)).toEqual({ spent: '0.12', reserved: '0', calls: 120, unpriced: 0 })
  for (const budget of all) expect((await figures(budget)).reserved).toBe('0')
  expect(await held(workspace)).toBe(0)
})

test('a call that is made again after a crash is reserved once; one that was paid is paid again', async () => {
  const workspace = await aWorkspace()
  const budget = await aBudget(workspace, '1')
  const one = call(workspace, [workspace], '0.6')
  await reserve(engine, one)
  // Though nothing would be left for another.
  expect(await Promise.all([reserve(engine, one), reserve(engine, one)])).toMatchObject([
    { kind: 'reserved' },
    { kind: 'reserved' },
  ])
  expect(await figures(budget)).toMatchObject({ reserved: '0.6' })
  await Promise.all([settle(engine, one, '0.1', false), settle(engine, one, '0.1', false)])
  expect(await figures(budget)).toEqual({ spent: '0.1', reserved: '0', calls: 1, unpriced: 0 })
  await reserve(engine, one)
  await settle(engine, one, '0.2', false)
  expect(await figures(budget)).toEqual({ spent: '0.3', reserved: '0', calls: 2, unpriced: 0 })
  // The next attempt of the step is another call.
  await reserve(engine, { ...one, attempt: 2 })
  await reserve(engine, one)
  expect(await figures(budget)).toMatchObject({ reserved: '1.2' })
})

test('an outcome that is not known counts as what was reserved, and is corrected when it is told late', async () => {
  const workspace = await aWorkspace()
  const budget = await aBudget(workspace, '10')
  const [cut, lost, late] = [0, 1, 2].map(() => call(workspace, [workspace], '0.5'))
  for (const each of [cut, lost, late]) await reserve(engine, each!)
  await settle(engine, cut!, null, false)
  expect(await figures(budget)).toMatchObject({ spent: '0.5', reserved: '1' })
  expect(await lapseReservations(engine), 'before its time').toBe(0)
  await sql`update budget_reservations set expires_at = app_now() where workspace_id = ${workspace}`.execute(db)
  expect(await Promise.all([lapseReservations(engine), lapseReservations(engine)])).toContain(2)
  expect(await figures(budget)).toEqual({ spent: '1.5', reserved: '0', calls: 3, unpriced: 0 })
  await settle(engine, late!, '0.02', false)
  await settle(engine, late!, '0.02', false)
  expect(await figures(budget)).toEqual({ spent: '1.02', reserved: '0', calls: 3, unpriced: 0 })
})

test('a call whose price is not known is refused, or let through where the budget allows it', async () => {
  const workspace = await aWorkspace()
  const budget = await aBudget(workspace, '1')
  expect(kindOf(await reserve(engine, call(workspace, [workspace], null)))).toBe('price_unknown')
  expect(await held(workspace)).toBe(0)
  await sql`update budgets set unknown_price = 'allow' where id = ${budget.id}`.execute(db)
  const one = call(workspace, [workspace], null)
  expect(kindOf(await reserve(engine, one))).toBe('reserved')
  await settle(engine, one, null, true)
  expect(await figures(budget)).toEqual({ spent: '0', reserved: '0', calls: 1, unpriced: 1 })
})

test('a window turns once, and what belongs to the old one leaves the new one alone', async () => {
  const workspace = await aWorkspace()
  const budget = await aBudget(workspace, '1')
  const [spent, open] = [call(workspace, [workspace], '1'), call(workspace, [workspace], '0.9')]
  await reserve(engine, open)
  await reserve(engine, spent)
  await settle(engine, spent, '1.1', false)
  const refused = await reserve(engine, call(workspace, [workspace], '0.1'))
  expect(refused).toMatchObject({ kind: 'refused', refusal: { reason: 'exceeded', limitUsd: '1' } })
  const until = refused.kind === 'refused' ? refused.refusal.until! : new Date(0)
  const { rows } = await sql<{ left: number }>`
    select extract(epoch from ${until.toISOString()}::text::timestamptz - app_now())::double precision as left`.execute(
    db,
  )
  expect(rows[0]!.left).toBeGreaterThan(0)
  expect(rows[0]!.left).toBeLessThanOrEqual(86_400)
  await database.shiftClock({ seconds: rows[0]!.left + 1 })
  try {
    const many = Array.from({ length: 8 }, () => call(workspace, [workspace], '0.1'))
    const verdicts = await Promise.all(many.map((each) => reserve(engine, each)))
    expect(verdicts.map(kindOf)).toEqual(many.map(() => 'reserved'))
    await settle(engine, open, '0.9', false)
    expect(await figures(budget)).toEqual({ spent: '0', reserved: '0.8', calls: 0, unpriced: 0 })
  } finally {
    await database.shiftClock({ seconds: 0 })
  }
})

test.runIf(database.url).each([
  ['settled', '0.1', settle],
  [
    'given up',
    '0.5',
    async (on: typeof engine) => {
      await lapseReservations(on)
    },
  ],
] as const)('a call that is %s while its window is being changed leaves nothing reserved', async (_, cost, end) => {
  const ctx = await createServiceContext(database)
  const { workspaceId } = ctx.actor
  const limit = {
    limit_usd: '5',
    window: 'day' as const,
    zone: 'UTC',
    thresholds: [],
    unknown_price: 'refuse' as const,
  }
  const { id } = await createBudget(ctx, { ...limit, scope: { type: 'workspace' } })
  const one = call(workspaceId, [workspaceId], '0.5')
  await reserve(engine, one)
  await sql`update budget_reservations set expires_at = app_now() where workspace_id = ${workspaceId}`.execute(db)
  let both: Promise<unknown> | undefined
  // The change waits first, the end of the call behind it with an older sight of things.
  await db.transaction().execute(async (tx) => {
    const untilWaiting = async (count: number) => {
      const waiting = async () =>
        (
          await sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`.execute(
            db,
          )
        ).rows.length
      while ((await waiting()) < count) await new Promise((resolve) => setImmediate(resolve))
    }
    await sql`select from budgets where id = ${id} for update`.execute(tx)
    const changed = updateBudget(ctx, id, { window: 'month', zone: 'Asia/Tokyo' }, null)
    await untilWaiting(1)
    const ended = end(engine, one, cost, false)
    await untilWaiting(2)
    both = Promise.all([changed, ended])
  })
  await both
  expect(await figures({ id, scope: workspaceId })).toEqual({ spent: cost, reserved: '0', calls: 1, unpriced: 0 })
  expect(await held(workspaceId)).toBe(cost === '0.1' ? 0 : 1)
})

test('each threshold is told once in its window, to whoever subscribes to it', async () => {
  const workspace = await aWorkspace()
  await aBudget(workspace, '1', { thresholds: [50, 80] })
  const subscription = uuidv7()
  await db
    .insertInto('webhook_subscriptions')
    .values({
      id: subscription,
      workspace_id: workspace,
      recipe_id: null,
      name: 'A receiver',
      url: 'https://hooks.example/',
      events: jsonb(['budget.threshold_reached', 'budget.exceeded']),
      secret: 'sealed',
      active: true,
    })
    .execute()
  const spend = async (amount: string) => {
    const one = call(workspace, [workspace], amount)
    await reserve(engine, one)
    await settle(engine, one, amount, false)
    await Promise.all([tellAlerts({ db: engine }), tellAlerts({ db: engine })])
  }
  const told = async () => {
    const { rows } = await sql<{ body: string }>`
      select body from webhook_deliveries where subscription_id = ${subscription} order by created_at, body`.execute(db)
    return rows.map(({ body }) => JSON.parse(body) as { type: string; data: { threshold?: number; spent_usd: string } })
  }
  await spend('0.4')
  expect(await told()).toEqual([])
  await spend('0.2')
  expect(await told()).toMatchObject([
    {
      type: 'budget.threshold_reached',
      data: { threshold: 50, spent_usd: '0.6', budget: { limit_usd: '1', window: 'day' } },
    },
  ])
  // Both at once.
  await spend('0.7')
  expect((await told()).map(({ type, data }) => [type, data.threshold ?? null])).toEqual([
    ['budget.threshold_reached', 50],
    expect.anything(),
    expect.anything(),
  ])
  expect(new Set((await told()).map(({ type, data }) => `${type} ${data.threshold ?? ''}`))).toEqual(
    new Set(['budget.threshold_reached 50', 'budget.threshold_reached 80', 'budget.exceeded ']),
  )
  await spend('0.1')
  expect(await told()).toHaveLength(3)
})

test('a workflow brings its limit, and its row goes with that', async () => {
  const workspace = await aWorkspace()
  const workflow = uuidv7()
  const rows = async () =>
    db
      .selectFrom('budgets')
      .select('id')
      .where('workspace_id', '=', workspace)
      .where('scope_id', '=', workflow)
      .execute()
  const limited = async (limit: string | null) => {
    await sql`update workflows set budget_usd = ${limit}::text::numeric where id = ${workflow}`.execute(engine)
  }
  await sql`insert into workflows (id, workspace_id, name, goal, approval, budget_usd, state, created_by)
    values (${workflow}, ${workspace}, 'A workflow', 'A goal', 'auto', 1, 'planning', 'test')`.execute(db)
  const one = () => ({ ...call(workspace, [workflow], '0.6'), inner: 1 })
  expect((await reserve(engine, one())).kind).toBe('missing')
  await sql`insert into budgets (id, workspace_id, level, scope_id, period, window_start)
    values (${uuidv7()}, ${workspace}, 4, ${workflow}, 'total', app_now())`.execute(db)
  expect([kindOf(await reserve(engine, one())), kindOf(await reserve(engine, one()))]).toEqual(['reserved', 'reserved'])
  expect(kindOf(await reserve(engine, one()))).toBe('busy')
  await limited('3')
  expect(kindOf(await reserve(engine, one()))).toBe('reserved')
  await limited(null)
  expect(await rows()).toEqual([])
})

/** What is done to one budget, by calls of a few keys. */
const act = fc.oneof(
  fc.record({ do: fc.constant('reserve' as const), key: fc.nat(5), cents: fc.integer({ min: 1, max: 120 }) }),
  fc.record({ do: fc.constant('settle' as const), key: fc.nat(5), cents: fc.option(fc.nat(150)) }),
  fc.record({ do: fc.constant('lapse' as const) }),
)
const usd = (cents: number) => `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`

test('whatever is reserved, settled, lost and told late, the sums are those of a ledger kept by hand', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 25 }), async (acts) => {
      const workspace = await aWorkspace()
      const budget = await aBudget(workspace, '2')
      const open = new Map<number, { cents: number; lapsed: boolean }>()
      let [spent, reserved] = [0, 0]
      for (const step of acts) {
        if (step.do === 'lapse') {
          await sql`update budget_reservations set expires_at = app_now()
            where workspace_id = ${workspace} and state = 'open'`.execute(db)
          await lapseReservations(engine)
          for (const each of open.values())
            if (!each.lapsed) [spent, reserved, each.lapsed] = [spent + each.cents, reserved - each.cents, true]
          continue
        }
        const one = call(workspace, [workspace], usd(step.cents ?? 0), `${workspace}/${step.key}`)
        const known = open.get(step.key)
        if (step.do === 'settle') {
          await settle(engine, one, step.cents === null ? null : usd(step.cents), false)
          if (!known) continue
          const cost = step.cents ?? known.cents
          if (known.lapsed) spent += cost - known.cents
          else [spent, reserved] = [spent + cost, reserved - known.cents]
          open.delete(step.key)
          continue
        }
        const verdict = await reserve(engine, one)
        const admitted = known !== undefined || spent + reserved < 200
        expect(verdict.kind).toBe(admitted ? 'reserved' : 'refused')
        if (admitted && !known) {
          open.set(step.key, { cents: step.cents, lapsed: false })
          reserved += step.cents
        }
      }
      const { spent: s, reserved: r } = await figures(budget)
      expect([s, r]).toEqual([addDecimals(usd(spent), '0'), addDecimals(usd(reserved), '0')])
      // What was let through knowing no better went beyond by less than one reservation.
      expect(reaches(addDecimals('2', '1.2'), r)).toBe(true)
    }),
    { numRuns: 40 },
  )
})
