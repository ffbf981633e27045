import { afterAll, expect, test } from 'vitest'
import { createTestDatabase } from '../support/database.ts'
import { Cluster, pause } from './support/cluster.ts'

const runningMs = 120_000

const database = await createTestDatabase()
const cluster = new Cluster(database.url!)
afterAll(async () => {
  await cluster.close()
  await database.close()
})
const { db } = database

test('three processes with clocks a minute apart fire each slot of a one-second schedule once, never before its time', async () => {
  const servers = [
    await cluster.start({ clockSkewMs: -30_000 }),
    await cluster.start(),
    await cluster.start({ clockSkewMs: 30_000 }),
  ]
  await Promise.all(servers.map((server) => server.ready))
  const api = (method: string, path: string, body?: unknown) => cluster.request(() => servers, method, path, body)
  await api('POST', '/api/workflow-recipes', {
    name: 'Tick',
    slug: 'tick',
    steps: [{ id: 'at', kind: 'transform', value: '{{ run.slot_at }}' }],
  })
  const schedule = await api('POST', '/api/schedules', { recipe_id: 'tick', cron: '* * * * * *', overlap: 'allow' })
  expect(schedule.status).toBe(201)
  const id = schedule.body['id'] as string
  await pause(runningMs)
  await api('POST', `/api/schedules/${id}/pause`)

  const slots = await db
    .selectFrom('schedule_slots')
    .selectAll()
    .where('schedule_id', '=', id)
    .orderBy('slot_at')
    .execute()
  expect(slots.length).toBeGreaterThanOrEqual(runningMs / 1_000 - 5)
  slots.forEach((slot, index) => {
    expect(slot.slot_at.getTime()).toBe(slots[0]!.slot_at.getTime() + index * 1_000)
    expect(slot.status).toBe('fired')
    expect(slot.fired_at!.getTime()).toBeGreaterThanOrEqual(slot.slot_at.getTime())
  })
  const lateMs = slots.map((slot) => slot.fired_at!.getTime() - slot.slot_at.getTime()).sort((a, b) => a - b)
  const runs = await db.selectFrom('runs').select(['slot_at', 'lease_owner']).where('schedule_id', '=', id).execute()
  expect(new Set(runs.map((run) => run.slot_at!.toISOString())).size).toBe(runs.length)
  expect(runs).toHaveLength(slots.length)
  await expect
    .poll(
      () =>
        db.selectFrom('runs').select('id').where('schedule_id', '=', id).where('state', '<>', 'succeeded').execute(),
      { timeout: 30_000 },
    )
    .toEqual([])
  console.log(
    `skew: ${slots.length} slots, each fired once; lag p50 ${lateMs[Math.floor(lateMs.length / 2)]} ms, most ${lateMs.at(-1)} ms`,
  )
})
