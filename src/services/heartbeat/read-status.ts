import { sql, type Kysely } from 'kysely'
import type { ComponentHealth, ServiceContext, ServiceStatus } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { overall } from '../health.service.ts'
import { bucketSeconds, windows } from './figures.ts'
import { currentState, instanceStates, type InstanceState } from './read-instances.ts'

type Health = ComponentHealth['status']
type Window = (typeof windows)[number]['window']

/** Of the samples that were taken; a time without any is neither up nor down. */
export interface Availability {
  window: Window
  /** Share of the samples in which the component worked, degraded or not. Null without samples. */
  available_percent: number | null
  /** Share of the window in which anything was measured. */
  measured_percent: number
  samples: Record<Health, number>
}
export interface ComponentStatus {
  name: string
  /** Null: no instance that is alive measures it. */
  status: Health | null
  /** How many of the instances that are alive see it how. */
  instances: Record<Health, number>
  availability: Availability[]
}
export interface TroubledService {
  instance: string
  name: string
  failures_in_a_row: number
  last_error: string | null
  lag_ms: number
  running_ms: number | null
}
export interface HeartbeatStatus {
  status: Health | null
  measured_at: string
  instances: Record<InstanceState, number>
  components: ComponentStatus[]
  troubled_services: TroubledService[]
}

interface InstanceRow {
  id: string
  state: InstanceState
  components: Record<string, ComponentHealth>
  services: ServiceStatus[]
  now: Date
}

/** The installation as a whole, from what every instance last stored of itself. */
export async function getHeartbeatStatus({
  db,
  clock,
}: Pick<ServiceContext, 'db' | 'clock'>): Promise<HeartbeatStatus> {
  const [rows, samples] = await Promise.all([readRows(db), readSamples(db)])
  const live = rows.filter(({ state }) => state === 'alive' || state === 'draining')
  const troubled = live.flatMap(({ id, services }) => services.filter((each) => each.troubled).map(toTroubled(id)))
  const names = new Set([...live.flatMap(({ components }) => Object.keys(components)), ...samples.keys()])
  const components = [...names].toSorted().map((name) => describeComponent(name, live, samples.get(name) ?? []))
  return {
    status: summarize(components, troubled),
    measured_at: (rows[0]?.now ?? clock.now()).toISOString(),
    instances: countStates(rows),
    components,
    troubled_services: troubled,
  }
}

async function readRows(db: Kysely<Database>): Promise<InstanceRow[]> {
  const { rows } = await sql<InstanceRow>`
    select i.id, ${currentState} as state, i.components, i.services, app_now()::timestamptz(3) as now
    from instances i order by i.id`.execute(db)
  return rows
}

interface SampleRow {
  component: string
  window: Window
  buckets: number
  healthy: number
  degraded: number
  unhealthy: number
}

async function readSamples(db: Kysely<Database>): Promise<Map<string, SampleRow[]>> {
  const { rows } = await sql<SampleRow>`
    select s.component, w.window, count(distinct s.bucket_at)::integer as buckets, sum(s.healthy)::double precision as healthy,
      sum(s.degraded)::double precision as degraded, sum(s.unhealthy)::double precision as unhealthy
    from jsonb_to_recordset(${JSON.stringify(windows)}::text::jsonb) as w("window" text, buckets integer)
    join component_samples s
      on s.bucket_at > app_now() - w.buckets * ${bucketSeconds}::text::integer * interval '1 second'
    group by s.component, w.window`.execute(db)
  const byComponent = new Map<string, SampleRow[]>()
  for (const row of rows) byComponent.set(row.component, [...(byComponent.get(row.component) ?? []), row])
  return byComponent
}

function describeComponent(name: string, live: InstanceRow[], samples: SampleRow[]): ComponentStatus {
  const instances = { healthy: 0, degraded: 0, unhealthy: 0 }
  for (const { components } of live) {
    const health = components[name]
    if (health) instances[health.status] += 1
  }
  return {
    name,
    status: together(instances),
    instances,
    availability: windows.map(({ window, buckets }) => {
      const row = samples.find((sample) => sample.window === window)
      const { healthy = 0, degraded = 0, unhealthy = 0 } = row ?? {}
      const total = healthy + degraded + unhealthy
      return {
        window,
        available_percent: total === 0 ? null : percent(healthy + degraded, total),
        measured_percent: percent(row?.buckets ?? 0, buckets),
        samples: { healthy, degraded, unhealthy },
      }
    }),
  }
}

/** What only some of the instances cannot reach still works for the others. */
function together({ healthy, degraded, unhealthy }: Record<Health, number>): Health | null {
  if (healthy + degraded + unhealthy === 0) return null
  if (healthy + degraded === 0) return 'unhealthy'
  return degraded + unhealthy === 0 ? 'healthy' : 'degraded'
}

function summarize(components: ComponentStatus[], troubled: TroubledService[]): Health | null {
  const known = components.flatMap(({ name, status }) => (status === null ? [] : [[name, { status }] as const]))
  if (known.length === 0) return null
  const status = overall(Object.fromEntries(known))
  return status === 'healthy' && troubled.length > 0 ? 'degraded' : status
}

function countStates(rows: InstanceRow[]): Record<InstanceState, number> {
  const counts = Object.fromEntries(instanceStates.map((state) => [state, 0])) as Record<InstanceState, number>
  for (const { state } of rows) counts[state] += 1
  return counts
}

const toTroubled = (instance: string) => (service: ServiceStatus) => ({
  instance,
  name: service.name,
  failures_in_a_row: service.failures_in_a_row,
  last_error: service.last_error,
  lag_ms: service.lag_ms,
  running_ms: service.running_ms,
})

const percent = (part: number, whole: number) => Math.round((part / whole) * 100_000) / 1000
