import { sql } from 'kysely'
import type { ComponentHealth, Runtime } from '../context.ts'
import { pendingMigrations } from '../db/migrate.ts'
import { version } from '../lib/version.ts'
import type { LimiterState } from './metrics/limiter-state.ts'

// A part that takes longer to say that it is well is not well, and a probe must answer before its caller gives up.
const probeTimeoutMs = 3_000

type Status = ComponentHealth['status']
export interface HealthReport {
  status: Status
  version: string
  platform: Runtime['platform']
  components: Record<string, ComponentHealth>
}

/** Every part measured now, at the same time. Without its database the process cannot serve; without others it limps. */
export async function reportHealth(runtime: Runtime, limiterState: LimiterState): Promise<HealthReport> {
  const probes: Record<string, () => Promise<ComponentHealth>> = {
    database: () => pingDatabase(runtime),
    schema: () => checkSchema(runtime),
    limiter: async () => limiterState.health(runtime.clock.monotonicMs()),
    ...runtime.probes,
  }
  const measured = await Promise.all(
    Object.entries(probes).map(async ([name, probe]) => [name, await measure(runtime, probe)] as const),
  )
  const components = Object.fromEntries(measured)
  return { status: overall(components), version, platform: runtime.platform, components }
}

/** Whether work can be sent here: the database answers and has the schema that this code expects. */
export async function reportReadiness(
  runtime: Runtime,
): Promise<{ ready: boolean; components: HealthReport['components'] }> {
  const database = await measure(runtime, runtime.probes['database'] ?? (() => pingDatabase(runtime)))
  const schema = await measure(runtime, () => checkSchema(runtime))
  return {
    ready: database.status !== 'unhealthy' && schema.status === 'healthy',
    components: { database, schema },
  }
}

/** Migrations that this code needs and the database lacks. */
export const pendingSchemaChanges = ({ db }: Pick<Runtime, 'db'>): Promise<string[]> => pendingMigrations(db)

const vital = new Set(['database', 'schema'])

function overall(components: Record<string, ComponentHealth>): Status {
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
