import { sql } from 'kysely'
import type { ComponentHealth, Runtime } from '../context.ts'
import { pendingMigrations } from '../db/pending-migrations.ts'
import { version } from '../lib/version.ts'
import { issuersOf } from './identity/issuers.ts'
import { identityHealth } from './identity/key-set.ts'
import type { LimiterState } from './metrics/limiter-state.ts'

// A part that takes longer to say that it is well is not well, and a probe must answer before its caller gives up.
const probeTimeoutMs = 3_000

type Status = ComponentHealth['status']
type Probe = () => Promise<ComponentHealth>
export interface HealthReport {
  status: Status
  version: string
  platform: Runtime['platform']
  components: Record<string, ComponentHealth>
}

/** Every part measured now, at the same time. Without its database the process cannot serve; without others it limps. */
export async function reportHealth(runtime: Runtime, limiterState: LimiterState): Promise<HealthReport> {
  const measured = await measureComponents(runtime)
  const limiter = limiterState.health(runtime.clock.monotonicMs(), measured['limiter'])
  const components = { ...measured, limiter }
  return { status: overall(components), version, platform: runtime.platform, components }
}

/** Every part that the process can ask, measured now. Never throws: a part that fails is unhealthy. */
export async function measureComponents(runtime: Runtime): Promise<Record<string, ComponentHealth>> {
  const probes: Record<string, Probe> = {
    database: () => pingDatabase(runtime),
    schema: () => checkSchema(runtime),
    ...(issuersOf(runtime.config).length > 0 && { identity: () => identityHealth(runtime) }),
    ...runtime.probes,
  }
  const measured = await Promise.all(
    Object.entries(probes).map(async ([name, probe]) => [name, await measure(runtime, probe)] as const),
  )
  return Object.fromEntries(measured)
}

export interface Readiness {
  ready: boolean
  /** The process is shutting down. */
  draining: boolean
  components: HealthReport['components']
}

/** Whether work can be sent here: the database answers, has the schema that this code expects, and the process goes on. */
export async function reportReadiness(runtime: Runtime): Promise<Readiness> {
  if (runtime.shutdown?.aborted) return { ready: false, draining: true, components: {} }
  const database = await measure(runtime, runtime.probes['database'] ?? (() => pingDatabase(runtime)))
  const schema = await measure(runtime, () => checkSchema(runtime))
  return {
    ready: database.status !== 'unhealthy' && schema.status === 'healthy',
    draining: false,
    components: { database, schema },
  }
}

/** Migrations that this code needs and the database lacks. */
export const pendingSchemaChanges = ({ db }: Pick<Runtime, 'db'>): Promise<string[]> => pendingMigrations(db)

const vital = new Set(['database', 'schema'])

/** Of all parts together: without a vital one nothing can be served, without another it limps. */
export function overall(components: Record<string, ComponentHealth>): Status {
  const all = Object.entries(components)
  if (all.some(([name, { status }]) => vital.has(name) && status === 'unhealthy')) return 'unhealthy'
  return all.some(([, { status }]) => status !== 'healthy') ? 'degraded' : 'healthy'
}

async function pingDatabase({ db }: Runtime): Promise<ComponentHealth> {
  await sql`select 1`.execute(db)
  return { status: 'healthy' }
}

async function checkSchema(runtime: Runtime): Promise<ComponentHealth> {
  const pending = await pendingSchemaChanges(runtime)
  if (pending.length === 0) return { status: 'healthy' }
  return { status: 'unhealthy', detail: `Behind by ${pending.join(', ')}. Run: npm run migrate` }
}

async function measure({ clock, log }: Runtime, probe: () => Promise<ComponentHealth>): Promise<ComponentHealth> {
  const startedMs = clock.monotonicMs()
  let timer
  const timeout = new Promise<ComponentHealth>((resolve) => {
    timer = setTimeout(() => resolve({ status: 'unhealthy', detail: 'No answer in time.' }), probeTimeoutMs)
  })
  try {
    const health = await Promise.race([probe(), timeout])
    return { ...health, latency_ms: health.latency_ms ?? round(clock.monotonicMs() - startedMs) }
  } catch (error) {
    // Its message may name hosts and users, so it goes to the log, not to whoever asks.
    log.warn('A health probe failed.', { error })
    return { status: 'unhealthy', detail: 'No connection.', latency_ms: round(clock.monotonicMs() - startedMs) }
  } finally {
    clearTimeout(timer)
  }
}

const round = (ms: number) => Math.round(ms * 100) / 100
