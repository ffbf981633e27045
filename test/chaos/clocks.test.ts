import { afterAll, expect, test } from 'vitest'
import { createTestDatabase } from '../support/database.ts'
import { expectWholeRuns } from '../support/invariants.ts'
import { setClock } from './support/clock.ts'
import { Cluster } from './support/cluster.ts'

const database = await createTestDatabase()
const cluster = new Cluster(database.url!)
afterAll(async () => {
  await cluster.close()
  await database.close()
})
const { db } = database

const zone = 'Europe/Berlin'
const soon = { timeout: 30_000, interval: 50 }

/** Where the clock is set to, in this order; behind the last it stands still for what the others may have left out. */
const nights = [
  {
    name: 'the night that leaves out an hour',
    from: '2031-03-29T23:10:00Z',
    // The clocks go from 2:00 to 3:00 at 01:00Z: up to it, over it, back before it, over it again, and on to the next day.
    jumps: [
      '2031-03-30T00:40:00Z',
      '2031-03-30T01:10:00Z',
      '2031-03-30T00:20:00Z',
      '2031-03-30T01:40:00Z',
      '2031-03-31T01:00:00Z',
    ],
    halfPastTwo: {
      'shift, first': ['2031-03-30T01:00:00Z', '2031-03-31T00:30:00Z'],
      'skip, both': ['2031-03-31T00:30:00Z'],
    },
  },
  {
    name: 'the night that has an hour twice',
    from: '2031-10-25T22:10:00Z',
    // The clocks go from 3:00 to 2:00 at 01:00Z.
    jumps: [
      '2031-10-26T00:40:00Z',
      '2031-10-26T01:10:00Z',
      '2031-10-26T00:20:00Z',
      '2031-10-26T01:40:00Z',
      '2031-10-27T02:00:00Z',
    ],
    halfPastTwo: {
      'shift, first': ['2031-10-26T00:30:00Z', '2031-10-27T01:30:00Z'],
      'skip, both': ['2031-10-26T00:30:00Z', '2031-10-26T01:30:00Z', '2031-10-27T01:30:00Z'],
    },
  },
]

test('clocks set forwards and back over the hours that a zone leaves out or repeats fire every slot once, whatever the processes think of the time', async () => {
  // Their own clocks are a day apart and in other years than the database's.
  const servers = [
    await cluster.start({ clockSkewMs: -12 * 3_600_000 }),
    await cluster.start({ clockSkewMs: 12 * 3_600_000 }),
  ]
  await Promise.all(servers.map((server) => server.ready))
  const api = (method: string, path: string, body?: unknown) => cluster.request(() => servers, method, path, body)
  const steps = [{ id: 'at', kind: 'transform', value: '{{ run.slot_at }}' }]
  expect((await api('POST', '/api/workflow-recipes', { name: 'Tick', slug: 'tick', steps })).status).toBe(201)
  const schedule = async (settings: object) => {
    const all = { recipe_id: 'tick', timezone: zone, overlap: 'allow', misfire: { catch_up: 1000 }, ...settings }
    const { status, body } = await api('POST', '/api/schedules', { name: crypto.randomUUID(), ...all })
    expect(status, JSON.stringify(body)).toBe(201)
    return body['id'] as string
  }

  for (const { name, from, jumps, halfPastTwo } of nights) {
    await setClock(db, from)
    const expected = new Map<string, string[]>()
    expected.set(await schedule({ cron: '*/15 * * * *' }), quartersBetween(from, jumps.at(-1)!))
    for (const [policy, slots] of Object.entries(halfPastTwo)) {
      const [gap, fold] = policy.split(', ')
      expected.set(await schedule({ cron: '30 2 * * *', dst: { gap, fold } }), slots)
    }
    const ids = [...expected.keys()]
    for (const instant of jumps) {
      await setClock(db, instant)
      // Nothing is due any more: what the jump has made due is in the ledger.
      const due = async () =>
        (
          await db
            .selectFrom('schedules')
            .select('id')
            .where('id', 'in', ids)
            .where('next_fire_at', '<=', new Date(instant))
            .execute()
        ).length
      await expect.poll(due, soon).toBe(0)
    }
    for (const id of ids) {
      const slots = await db
        .selectFrom('schedule_slots')
        .selectAll()
        .where('schedule_id', '=', id)
        .orderBy('slot_at')
        .execute()
      expect(
        slots.map((slot) => [slot.slot_at.toISOString().replace('.000Z', 'Z'), slot.status]),
        name,
      ).toEqual(expected.get(id)!.map((slot) => [slot, 'fired']))
      const runs = await db.selectFrom('runs').select(['id', 'slot_at']).where('schedule_id', '=', id).execute()
      expect(new Set(runs.map((run) => run.id))).toEqual(new Set(slots.map((slot) => slot.run_id)))
      expect(runs).toHaveLength(slots.length)
      await api('POST', `/api/schedules/${id}/pause`)
    }
  }
  const open = () => db.selectFrom('runs').select('id').where('finished_at', 'is', null).execute()
  await expect.poll(open, soon).toEqual([])
  const runs = await db.selectFrom('runs').select('id').execute()
  await expectWholeRuns(
    db,
    runs.map((run) => run.id),
  )
})

/** A quarter of an hour goes by the time that passes, so the zone's clocks do not matter to it. */
function quartersBetween(from: string, until: string): string[] {
  const quarterMs = 15 * 60_000
  const slots: string[] = []
  for (let at = Math.floor(Date.parse(from) / quarterMs + 1) * quarterMs; at <= Date.parse(until); at += quarterMs)
    slots.push(new Date(at).toISOString().replace('.000Z', 'Z'))
  return slots
}
