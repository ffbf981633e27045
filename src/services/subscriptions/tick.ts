import { sql } from 'kysely'
import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import { announceBatch, announceEnds } from './announce.ts'
import { deliverDue } from './deliver.ts'

/**
 * Tells subscribers what has happened. Any number of processes may tick at once: a run is announced under its row lock,
 * a delivery is claimed for the time of one attempt.
 */
export async function webhooksTick(runtime: Runtime): Promise<TickReport> {
  // Most ticks find nothing: all that they cost is this one look.
  let agenda = await readAgenda(runtime)
  const announced = agenda.hasEnds ? await announceEnds(runtime) : 0
  if (announced > 0) agenda = await readAgenda(runtime)
  const sent = agenda.nextInMs !== null && agenda.nextInMs <= 0 ? await deliverDue(runtime) : 0
  if (sent > 0) agenda = await readAgenda(runtime)
  const { nextInMs } = agenda
  // Where nothing was sent, what is due waits for its receiver to recover.
  const more = announced >= announceBatch || (sent > 0 && nextInMs !== null && nextInMs <= 0)
  return { done: announced + sent, more, ...(nextInMs === null ? {} : { nextInMs: Math.max(minPauseMs, nextInMs) }) }
}

/** Between two looks at what is due and has to wait. */
const minPauseMs = 500

async function readAgenda({ db }: Pick<Runtime, 'db'>): Promise<{ hasEnds: boolean; nextInMs: number | null }> {
  const { rows } = await sql<{ has_ends: boolean; next_in_ms: number | null }>`
    select
      exists (select from runs where announced_generation < generation and finished_at is not null) as has_ends,
      (select (extract(epoch from min(next_attempt_at) - app_now()) * 1000)::double precision from webhook_deliveries
        where status = 'pending' and next_attempt_at is not null) as next_in_ms`.execute(db)
  const { has_ends, next_in_ms } = rows[0]!
  return { hasEnds: has_ends, nextInMs: next_in_ms }
}

export const webhooksService: BackgroundService = { name: 'webhooks', periodMs: 1000, tick: webhooksTick }
