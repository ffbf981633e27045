import { sql } from 'kysely'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { jsonb } from '../../../src/db/json.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { monthsFrom } from '../../../src/lib/slots/months.ts'
import { nextSlots } from '../../../src/lib/slots/slots.ts'
import {
  createSchedule,
  forecastNew,
  forecastSchedule,
  listLedger,
  listUpcoming,
  pauseSchedule,
  pauseSchedules,
  resumeSchedules,
} from '../../../src/services/schedules.service.ts'
import { aRecipe, aSchedule, copySchedule, createWorkbench, tickAll } from './fixture.ts'

const bench = await createWorkbench()
const { db, ctx, setClock } = bench
afterAll(() => bench.close())
beforeEach(async () => {
  await db.deleteFrom('schedules').execute()
  await db.deleteFrom('runs').execute()
  await db.deleteFrom('model_usage').execute()
})

/** Every item of a list, page by page. */
async function everyPage<T>(
  read: (cursor: string | undefined) => Promise<{ items: T[]; next_cursor: string | null }>,
): Promise<T[]> {
  const items: T[] = []
  let cursor: string | undefined
  do {
    const page = await read(cursor)
    items.push(...page.items)
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined)
  return items
}

test('coming slots of all schedules are one list in the order of time, however it is cut into pages', async () => {
  await setClock('2034-03-25T22:10:00Z')
  const timings = [
    { cron: '0 * * * *' },
    { cron: '*/30 2 * * *', timezone: 'Europe/Berlin' },
    { interval: '45m' },
    { cron: '0 0 * * *', timezone: 'Asia/Kolkata' },
  ]
  const ids: string[] = []
  for (const timing of timings) ids.push(await aSchedule(bench, timing))
  const paused = await aSchedule(bench, { cron: '* * * * *' })
  await pauseSchedule(ctx, { id: paused })
  const window = { from: '2034-03-25T22:10:00Z', to: '2034-03-26T22:10:00Z' }

  const rows = await db.selectFrom('schedules').selectAll().where('id', 'in', ids).execute()
  const expected = rows
    .flatMap((row) => {
      const spec = { cron: row.cron, interval: row.interval_s, anchor: row.anchor_at, zone: row.timezone, dst: row.dst }
      return nextSlots({ ...spec, end: new Date(window.to) }, new Date(window.from), 100).map(
        (slot) => `${slot.toISOString()} ${row.id}`,
      )
    })
    .toSorted()
  for (const limit of [1, 3, 200]) {
    const items = await everyPage((cursor) => listUpcoming(ctx, { ...window, limit, cursor }))
    expect(items.map((item) => `${item.slot_at} ${item.schedule_id}`)).toEqual(expected)
  }
  const { items } = await listUpcoming(ctx, { ...window, limit: 200 })
  // Berlin's clocks skip the hour from two to three that night.
  expect(items.find((item) => item.schedule_id === ids[1])).toMatchObject({ dst: 'shifted', dst_day: true })
})

test('the window begins now at the earliest, and slots that have fired are not in it', async () => {
  await setClock('2034-04-01T10:00:00Z')
  await aSchedule(bench, { cron: '0 * * * *' })
  await setClock('2034-04-01T12:00:00Z')
  await tickAll(bench)
  const { items } = await listUpcoming(ctx, { from: '2034-04-01T00:00:00Z', to: '2034-04-01T14:00:01Z', limit: 10 })
  expect(items.map((item) => item.slot_at.slice(11, 16))).toEqual(['13:00', '14:00'])
  await expect(
    listUpcoming(ctx, { from: '2034-04-01T12:00:00Z', to: '2036-04-01T12:00:00Z', limit: 10 }),
  ).rejects.toMatchObject({ kind: 'invalid' })
})

test('more schedules than one request looks at are refused with advice, and fewer of them are not', async () => {
  await setClock('2034-04-02T10:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *' })
  await copySchedule(bench, id, 5000)
  const from = '2034-04-02T10:00:30Z'
  await expect(listUpcoming(ctx, { from, to: '2034-04-02T10:05:00Z', limit: 10 })).rejects.toMatchObject({
    errors: [{ pointer: '/query/to', detail: expect.stringContaining('5000') }],
  })
  expect((await listUpcoming(ctx, { from, to: '2034-04-02T10:01:00Z', limit: 10 })).items).toEqual([])
})

test('the ledger of a workspace is searched by state, reason, recipe, schedule and time', async () => {
  await setClock('2034-05-01T06:30:00Z')
  const missing = await aSchedule(bench, { cron: '0 * * * *', misfire: 'skip' })
  const late = await aSchedule(bench, { cron: '0 * * * *', grace: '2h', overlap: 'allow' })
  const held = await aSchedule(bench, { cron: '0 * * * *', overlap: 'skip', grace: '2h' })
  await setClock('2034-05-01T08:30:00Z')
  await tickAll(bench)
  const search = async (query: object) =>
    (await everyPage((cursor) => listLedger(ctx, { limit: 2, ...query, cursor }))).map(
      (slot) => `${slot.slot_at.slice(11, 13)} ${slot.status}${slot.late ? ' late' : ''}`,
    )
  expect(await search({ states: ['missed', 'late'] })).toHaveLength(5)
  expect(await search({ states: ['missed'] })).toEqual(['08 missed', '07 missed'])
  expect(await search({ states: ['late'], schedule_id: late })).toEqual(['08 fired late', '07 fired late'])
  expect(await search({ reason: 'overlap' })).toEqual(['08 skipped'])
  expect(await search({ schedule_id: missing, from: '2034-05-01T08:00:00Z' })).toEqual(['08 missed'])
  expect(await search({ schedule_id: missing, to: '2034-05-01T08:00:00Z' })).toEqual(['07 missed'])
  const { items } = await listLedger(ctx, { limit: 50, schedule_id: held })
  expect(await search({ recipe_id: items[0]!.recipe_id })).toEqual(['08 skipped', '07 fired late'])
  expect(items[0]).toMatchObject({ schedule_id: held, schedule_name: 'default' })
})

test('a range that reaches into the window is found, once', async () => {
  await setClock('2034-05-02T00:30:00Z')
  const id = await aSchedule(bench, { cron: '*/10 * * * *', misfire: 'skip' })
  await setClock('2034-05-02T12:05:00Z')
  await tickAll(bench)
  const search = (query: object) =>
    everyPage((cursor) => listLedger(ctx, { limit: 1, schedule_id: id, ...query, cursor }))
  expect(await search({})).toMatchObject([{ count: 69 }])
  expect(await search({ from: '2034-05-02T06:00:00Z' })).toMatchObject([{ count: 69 }])
  expect(await search({ from: '2034-05-02T06:00:00Z', to: '2034-05-02T07:00:00Z' })).toMatchObject([{ count: 69 }])
  expect(await search({ from: '2034-05-02T12:01:00Z' })).toEqual([])
})

test('missed and late slots are found by their own index among many that fired', async () => {
  await setClock('2034-05-03T00:00:30Z')
  const id = await aSchedule(bench, { cron: '* * * * *' })
  await sql`
    insert into schedule_slots (schedule_id, slot_at, workspace_id, status, late)
    select ${id}, timestamptz '2034-01-01' + n * interval '1 minute', ${ctx.actor.workspaceId},
      case when n % 1000 = 0 then 'missed' else 'fired' end, n % 1500 = 0
    from generate_series(1, 20000) n`.execute(db)
  await sql`analyze schedule_slots`.execute(db)
  const { rows } = await sql<Record<string, string>>`explain select * from schedule_slots p
    where p.workspace_id = ${ctx.actor.workspaceId} and (p.status = 'missed' or p.late)
    order by p.slot_at desc, p.schedule_id desc limit 51`.execute(db)
  const plan = rows.map((row) => Object.values(row)[0]).join('\n')
  expect(plan).toContain('schedule_slots_troubled')
  expect(plan).not.toMatch(/Sort|Seq Scan/)
})

test('many schedules are paused and resumed by one call, which tells what has changed', async () => {
  await setClock('2034-06-01T10:00:30Z')
  const recipeId = await aRecipe(bench)
  const make = async (name: string) => (await createSchedule(ctx, { recipe_id: recipeId, name, cron: '* * * * *' })).id
  const [one, two] = [await make('one'), await make('two')]
  const other = await aSchedule(bench, { cron: '* * * * *' })
  await pauseSchedule(ctx, { id: two })
  const isPaused = async () =>
    (await db.selectFrom('schedules').select(['id', 'paused']).execute()).flatMap((row) => (row.paused ? [row.id] : []))

  expect(await pauseSchedules(ctx, { recipe_id: recipeId })).toEqual({
    changed: [{ id: one, name: 'one', recipe_id: recipeId }],
    unchanged: 1,
    unknown: [],
    failed: [],
    has_more: false,
  })
  expect((await isPaused()).toSorted()).toEqual([one, two].toSorted())
  expect(await pauseSchedules(ctx, { all: true })).toMatchObject({ changed: [{ id: other }], unchanged: 2 })
  const nobody = uuidv7()
  expect(await resumeSchedules(ctx, { ids: [one, nobody, 'nonsense'] })).toMatchObject({
    changed: [{ id: one }],
    unchanged: 0,
    unknown: [nobody, 'nonsense'],
  })
  expect((await isPaused()).toSorted()).toEqual([two, other].toSorted())
  await setClock('2034-06-01T10:10:30Z')
  await resumeSchedules(ctx, { all: true })
  expect(await isPaused()).toEqual([])
  const { items } = await listLedger(ctx, { limit: 50, reason: 'paused' })
  expect(items.map((slot) => [slot.schedule_id, slot.count]).toSorted()).toEqual(
    [
      [two, 10],
      [other, 10],
    ].toSorted(),
  )
  for (const target of [{}, { all: true as const, ids: [one] }])
    await expect(pauseSchedules(ctx, target)).rejects.toMatchObject({ kind: 'invalid' })
})

test('one that cannot be resumed is named and holds up no other', async () => {
  await setClock('2034-06-02T10:00:30Z')
  const broken = await aSchedule(bench, { cron: '* * * * *' })
  const sound = await aSchedule(bench, { cron: '* * * * *' })
  await pauseSchedules(ctx, { all: true })
  await db.updateTable('schedules').set({ timezone: 'Mars/Olympus' }).where('id', '=', broken).execute()
  expect(await resumeSchedules(ctx, { all: true })).toMatchObject({
    changed: [{ id: sound }],
    failed: [{ id: broken, detail: expect.any(String) }],
  })
})

test('a forecast counts the slots of calendar months in the zone of the schedule', async () => {
  await setClock('2034-03-20T11:00:00Z')
  const timing = { cron: '30 2 * * *', timezone: 'Europe/Berlin', dst: { gap: 'skip' as const } }
  const { months, timezone } = await forecastNew(ctx, { ...timing, months: 2 })
  expect(timezone).toBe('Europe/Berlin')
  // 21 to 31 March, without the 26th, when there is no half past two.
  expect(months).toEqual([
    { month: '2034-03', from: '2034-03-20T11:00:00.000Z', to: '2034-03-31T22:00:00.000Z', runs: 10, cost_usd: null },
    { month: '2034-04', from: '2034-03-31T22:00:00.000Z', to: '2034-04-30T22:00:00.000Z', runs: 30, cost_usd: null },
  ])
  const dense = await forecastNew(ctx, { cron: '* * * * * *', months: 2 })
  expect(dense.months[1]?.runs).toBe(30 * 86_400)
})

test('months begin at midnight of the zone, whatever its clocks do that night', () => {
  const of = (zone: string, at: string) => monthsFrom(zone, new Date(at), 2).map((month) => month.to.toISOString())
  expect(of('America/New_York', '2026-10-20T00:00:00Z')).toEqual([
    '2026-11-01T04:00:00.000Z',
    '2026-12-01T05:00:00.000Z',
  ])
  expect(of('Asia/Kolkata', '2026-01-31T19:00:00Z')).toEqual(['2026-02-28T18:30:00.000Z', '2026-03-31T18:30:00.000Z'])
})

async function aPastRun(recipeId: string, usage: object, more: { state?: 'failed' } = {}) {
  const id = uuidv7()
  await db
    .insertInto('runs')
    .values({
      id,
      workspace_id: ctx.actor.workspaceId,
      recipe_id: recipeId,
      recipe_version: 1,
      state: more.state ?? 'succeeded',
      trigger: jsonb({ kind: 'api' }),
      input: jsonb({}),
    })
    .execute()
  await sql`update runs set usage = ${jsonb(usage)} where id = ${id}`.execute(db)
  return id
}

test('its cost is the median of what past runs have cost, exactly, and nothing simulated is among them', async () => {
  await setClock('2034-06-10T00:00:00Z')
  const recipeId = await aRecipe(bench)
  const { id } = await createSchedule(ctx, { recipe_id: recipeId, cron: '0 12 * * *' })
  for (const cost of ['0.0100', '0.0300000001', '5']) await aPastRun(recipeId, { model_calls: 1, cost_usd: cost })
  await aPastRun(recipeId, { model_calls: 1, cost_usd: null })
  await aPastRun(recipeId, { model_calls: 1, cost_usd: '900' }, { state: 'failed' })
  const simulated = await aPastRun(recipeId, { model_calls: 1, cost_usd: '0' })
  await sql`insert into model_usage (id, workspace_id, provider, model, status, simulated, run_id)
    values (gen_random_uuid(), ${ctx.actor.workspaceId}, 'offline', 'offline-1', 'ok', true, ${simulated})`.execute(db)
  const { per_run, months } = await forecastSchedule(ctx, { id, months: 2 })
  expect(per_run).toMatchObject({ cost_usd: '0.0300000001', basis: 'past_runs', runs: 3 })
  expect(months[1]).toMatchObject({ month: '2034-07', runs: 31, cost_usd: '0.9300000031' })
})

const llm = (id: string, more: object = {}) => ({
  id,
  kind: 'llm',
  prompt: 'x'.repeat(400),
  model: { provider: 'openai', model: 'forecast-1', ...more },
})
async function aPrice() {
  await sql`delete from models where provider = 'openai' and model = 'forecast-1'`.execute(db)
  await sql`insert into models (id, provider, model, name, input_usd, output_usd)
    values (gen_random_uuid(), 'openai', 'forecast-1', 'Forecast', 2, 10)`.execute(db)
}
const costWith = async (steps: object[]) =>
  (
    await forecastNew(ctx, {
      recipe_id: await aRecipe(bench, { steps: steps as never }),
      cron: '0 12 * * *',
      months: 1,
    })
  ).per_run

test('without past runs it is told from the prices of the models, by measured or limited tokens', async () => {
  await setClock('2034-06-11T00:00:00Z')
  await aPrice()
  // 100 tokens at 2 and at most 50 at 10 dollars a million.
  expect(await costWith([llm('a', { max_output_tokens: 50 })])).toMatchObject({
    cost_usd: '0.0007',
    basis: 'price_table',
  })
  for (const [input, output] of [
    [10, 1],
    [1000, 200],
    [5000, 900],
  ])
    await sql`insert into model_usage (id, workspace_id, provider, model, status, input_tokens, output_tokens)
      values (gen_random_uuid(), ${ctx.actor.workspaceId}, 'openai', 'forecast-1', 'ok', ${input}::int, ${output}::int)`.execute(
      db,
    )
  expect(await costWith([llm('a'), llm('b')])).toMatchObject({ cost_usd: '0.008', basis: 'price_table', runs: 0 })
  const cases = [{ when: 'true', steps: [llm('b')] }]
  expect(await costWith([{ id: 'either', kind: 'branch', cases, default: [llm('c'), llm('d')] }])).toMatchObject({
    cost_usd: '0.008',
  })
})

test('what cannot be known is null, with the reason', async () => {
  await setClock('2034-06-12T00:00:00Z')
  await aPrice()
  const unknown = async (steps: object[]) => {
    const { cost_usd, basis, detail } = await costWith(steps)
    expect([cost_usd, basis]).toEqual([null, null])
    return detail
  }
  expect(await unknown([llm('a')])).toContain('neither measured nor limited')
  expect(await unknown([llm('a', { model: 'nobody-knows' })])).toContain('price of openai/nobody-knows')
  const each = { id: 'each', kind: 'foreach', items: [1], as: 'item', steps: [llm('a', { max_output_tokens: 5 })] }
  expect(await unknown([each])).toContain('items')
  expect(await costWith([{ id: 'a', kind: 'transform', value: 1 }])).toMatchObject({ cost_usd: '0' })
  const without = await forecastNew(ctx, { cron: '0 12 * * *', months: 1 })
  expect(without.per_run).toMatchObject({ cost_usd: null, basis: null })
})
