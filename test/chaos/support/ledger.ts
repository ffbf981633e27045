import type { Kysely } from 'kysely'
import { expect } from 'vitest'
import type { Database } from '../../../src/db/database.ts'

/**
 * Every second between the first and the last slot has one row or lies in one range, nothing fired before its time, and each
 * that fired has its run. Returns how many fired.
 */
export async function expectWholeLedger(db: Kysely<Database>, scheduleId: string): Promise<number> {
  const slots = await db
    .selectFrom('schedule_slots')
    .selectAll()
    .where('schedule_id', '=', scheduleId)
    .orderBy('slot_at')
    .execute()
  let next = slots[0]!.slot_at.getTime()
  for (const slot of slots) {
    expect(slot.slot_at.getTime()).toBe(next)
    next = (slot.slot_to ?? slot.slot_at).getTime() + 1_000
    if (slot.status === 'fired') expect(slot.fired_at!.getTime()).toBeGreaterThanOrEqual(slot.slot_at.getTime())
    else expect(slot.reason).toBeTruthy()
  }
  const fired = slots.filter((slot) => slot.status === 'fired')
  const runs = await db.selectFrom('runs').select(['id', 'slot_at']).where('schedule_id', '=', scheduleId).execute()
  expect(runs.map((run) => run.slot_at!.toISOString()).sort()).toEqual(
    fired.map((slot) => slot.slot_at.toISOString()).sort(),
  )
  return fired.length
}
