import { sql } from 'kysely'
import type { BackgroundService, Runtime, ServiceStatus } from '../../context.ts'
import { toJsonText } from '../../db/json.ts'
import type { InstanceLoad } from '../../db/tables/heartbeat.table.ts'
import { AppError } from '../../lib/errors.ts'
import { version } from '../../lib/version.ts'
import { workersInstance } from '../../lib/workers-instance.ts'
import { measureComponents } from '../health.service.ts'
import { engineOf } from '../runs/index.ts'
import { answered } from '../runs/steadily.ts'
import { bucketSeconds, keepInstancesDays, keepSamplesDays } from './figures.ts'
import { PendingSamples, type PendingEntry } from './pending-samples.ts'

const processPeriodMs = 10_000
const workersPeriodMs = 60_000

const buffers = new WeakMap<object, PendingSamples>()

/** Of this process: its database stands for it, as it does for its engine. */
function pendingOf({ db }: Runtime): PendingSamples {
  let pending = buffers.get(db)
  if (!pending) buffers.set(db, (pending = new PendingSamples()))
  return pending
}

/** Says that this instance is alive, with its load and the state of its parts, and clears away what is too old. */
export const heartbeatService: BackgroundService = {
  name: 'heartbeat',
  periodMs: processPeriodMs,
  steady: true,
  async tick(runtime) {
    await beat(runtime)
    return { done: 1, more: false }
  },
}

export async function beat(runtime: Runtime): Promise<void> {
  const pending = pendingOf(runtime)
  const components = await measureComponents(runtime)
  pending.add(components, runtime.clock.monotonicMs())
  if (components['database']?.status === 'unhealthy') {
    throw new AppError('unavailable', 'The database does not answer; what was measured is stored later.')
  }
  const services = await servicesOf(runtime)
  const entries = pending.take()
  try {
    await answered(write(runtime, components, services, entries))
  } catch (error) {
    pending.giveBack(entries)
    throw error
  }
}

/** Tells the others at once; where the database is away they learn it from the silence. */
export async function markInstance(runtime: Runtime, state: 'draining' | 'stopped'): Promise<void> {
  await runtime.db
    .updateTable('instances')
    .set({ state, last_beat_at: sql<Date>`app_now()` })
    .where('id', '=', instanceOf(runtime))
    .where('state', '<>', 'stopped')
    .execute()
}

const instanceOf = ({ platform, instance }: Runtime) => (platform === 'workers' ? workersInstance : instance)

async function write(
  runtime: Runtime,
  components: object,
  services: ServiceStatus[],
  entries: PendingEntry[],
): Promise<void> {
  const id = instanceOf(runtime)
  const figures = runtime.figures?.()
  const nowMs = runtime.clock.monotonicMs()
  const samples = entries.flatMap(({ atMs, counts }) =>
    [...counts].map(([component, each]) => ({ component, age_ms: Math.max(0, nowMs - atMs), ...each })),
  )
  const periodMs = runtime.platform === 'workers' ? workersPeriodMs : processPeriodMs
  await sql`
    with beat as (
      insert into instances as i (id, runtime, version, host, pid, state, started_at, last_beat_at, period_s, load,
        components, services)
      values (${id}, ${runtime.platform}, ${version}, ${figures?.host ?? null}, ${figures?.pid ?? null}::text::integer,
        ${runtime.shutdown?.aborted ? 'draining' : 'alive'},
        app_now() - ${figures?.uptime_ms ?? 0}::text::double precision * interval '1 millisecond', app_now(),
        ${periodMs / 1000}::text::integer, ${toJsonText(loadOf(runtime, figures))}::text::jsonb,
        ${toJsonText(components)}::text::jsonb, ${toJsonText(services)}::text::jsonb)
      on conflict (id) do update set state = excluded.state, last_beat_at = excluded.last_beat_at,
        load = excluded.load, components = excluded.components, services = excluded.services,
        version = excluded.version, period_s = excluded.period_s,
        started_at = case when i.version = excluded.version then i.started_at else excluded.started_at end
    ), measured as (
      insert into component_samples as c (bucket_at, component, instance_id, healthy, degraded, unhealthy)
      select date_bin(${bucketSeconds}::text::integer * interval '1 second',
          app_now() - s.age_ms * interval '1 millisecond', timestamptz 'epoch'),
        s.component, ${id}, sum(s.healthy), sum(s.degraded), sum(s.unhealthy)
      from jsonb_to_recordset(${toJsonText(samples)}::text::jsonb)
        as s(age_ms double precision, component text, healthy integer, degraded integer, unhealthy integer)
      group by 1, 2
      on conflict (bucket_at, component, instance_id) do update set healthy = c.healthy + excluded.healthy,
        degraded = c.degraded + excluded.degraded, unhealthy = c.unhealthy + excluded.unhealthy
    ), outdated as (
      delete from component_samples where bucket_at < app_now() - ${keepSamplesDays}::text::integer * interval '1 day'
    )
    delete from instances
    where id <> ${id} and last_beat_at < app_now() - ${keepInstancesDays}::text::integer * interval '1 day'`.execute(
    runtime.db,
  )
}

function loadOf(runtime: Runtime, figures: ReturnType<NonNullable<Runtime['figures']>> | undefined): InstanceLoad {
  // On Workers runs are in flight in dispatchers, of which this one knows nothing but the leases.
  const engine = runtime.platform === 'workers' ? null : engineOf(runtime)
  return {
    runs_in_flight: engine?.inFlight ?? null,
    runs_capacity: engine ? runtime.config.engineConcurrency : null,
    event_loop_lag_ms: figures?.event_loop_lag_ms ?? null,
    memory_bytes: figures?.memory_bytes ?? null,
  }
}

/** A process counts by itself. On Workers nothing lasts from pass to pass, so the counts go on from what is stored. */
async function servicesOf(runtime: Runtime): Promise<ServiceStatus[]> {
  const services = runtime.services?.() ?? []
  if (runtime.platform !== 'workers') return services
  const stored = await runtime.db
    .selectFrom('instances')
    .select('services')
    .where('id', '=', workersInstance)
    .executeTakeFirst()
  const before = new Map(stored?.services.map((service) => [service.name, service]))
  return services.map((service) => {
    const previous = before.get(service.name)
    if (!previous) return service
    return {
      ...service,
      ticks: previous.ticks + service.ticks,
      failures: previous.failures + service.failures,
      failures_in_a_row:
        service.last_result === 'failed'
          ? previous.failures_in_a_row + service.failures_in_a_row
          : service.failures_in_a_row,
    }
  })
}
