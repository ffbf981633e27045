import { sql, type Kysely } from 'kysely'
import type { Log, Wake } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { shardOf } from '../../lib/shard.ts'
import type { AlarmTarget, Bindings, WaitUntil } from './bindings.ts'

export const shardCount = 64

/** The dispatcher that a run wakes. Any of them may claim any run: shards spread the work, they do not own it. */
export const dispatcherOf = (runId: string): number => shardOf(runId, shardCount)

const dispatcher = (bindings: Pick<Bindings, 'DISPATCHER'>, shard: number): AlarmTarget =>
  bindings.DISPATCHER.get(bindings.DISPATCHER.idFromName(`dispatcher-${shard}`))

export const serviceClock = (bindings: Pick<Bindings, 'SERVICE_CLOCK'>): AlarmTarget =>
  bindings.SERVICE_CLOCK.get(bindings.SERVICE_CLOCK.idFromName('service-clock'))

/** Wake-ups of one request. However many runs of a shard become ready together, it is poked once. */
export function createDispatchWake(
  bindings: Pick<Bindings, 'DISPATCHER' | 'SERVICE_CLOCK'>,
  waitUntil: WaitUntil,
  log: Log,
): Wake {
  const sending = new Map<string, { again: boolean }>()

  const poke = (name: string, target: () => AlarmTarget) => {
    const state = sending.get(name)
    if (state) {
      // The poke under way may arrive before this one's rows are committed: it takes another.
      state.again = true
      return
    }
    const fresh = { again: false }
    sending.set(name, fresh)
    waitUntil(
      send(fresh, target)
        .catch((error: unknown) =>
          log.warn('A wake-up was lost; the cron minute makes up for it', { target: name, error }),
        )
        .finally(() => sending.delete(name)),
    )
  }
  const pokeRun = (runId: string) => {
    const shard = dispatcherOf(runId)
    poke(`dispatcher-${shard}`, () => dispatcher(bindings, shard))
  }
  return {
    runReady: pokeRun,
    command: pokeRun,
    // Followers of a run poll its log: no one listens across requests.
    events: () => {},
    schedulesChanged: () => poke('service-clock', () => serviceClock(bindings)),
    listen: () => () => {},
  }
}

/**
 * Pokes a dispatcher for each of the runs that are ready, so that one whose own wake-up was lost starts as well.
 * Returns how many dispatchers were poked.
 */
export async function pokeDueRuns(bindings: Pick<Bindings, 'DISPATCHER'>, db: Kysely<Database>): Promise<number> {
  const { rows } = await sql<{ run_id: string }>`select run_id from run_queue order by ready_at limit 500`.execute(db)
  const shards = new Set(rows.map((row) => dispatcherOf(row.run_id)))
  await Promise.all([...shards].map((shard) => dispatcher(bindings, shard).poke()))
  return shards.size
}

/** An alarm comes within a second, the cron minute within one: what stands longer than both has been tried. */
const standsAfterSeconds = 90
/** Asked by one probe: each question wakes an object. */
const mostAsked = 4

/**
 * What is wrong with the alarms, in words; undefined where nothing is. Dispatchers are asked only where runs of theirs stand
 * in the queue, so that a probe costs nothing while all is well.
 */
export async function alarmTrouble(
  bindings: Pick<Bindings, 'DISPATCHER' | 'SERVICE_CLOCK'>,
  db: Kysely<Database>,
): Promise<string | undefined> {
  const { failures } = await serviceClock(bindings).status()
  if (failures > 0) return `The last ${failures} passes of the service clock failed; the log has the reason.`
  const { rows } = await sql<{ run_id: string }>`
    select run_id from run_queue where ready_at < app_now() - ${standsAfterSeconds}::text::integer * interval '1 second'
    order by ready_at limit 100`.execute(db)
  const asked = [...new Set(rows.map((row) => dispatcherOf(row.run_id)))].slice(0, mostAsked)
  const states = await Promise.all(asked.map((shard) => dispatcher(bindings, shard).status()))
  const failing = states.filter((state) => state.failures > 0).length
  return failing > 0
    ? `Of ${asked.length} dispatchers whose runs stand in the queue ${failing} fail; the log has the reason.`
    : undefined
}

async function send(state: { again: boolean }, target: () => AlarmTarget): Promise<void> {
  do {
    // A batch of runs signals in one go; all of it is one poke.
    await Promise.resolve()
    state.again = false
    await target().poke()
  } while (state.again)
}
