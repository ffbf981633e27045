import type { Config } from '../../config.ts'
import type { ComponentHealth, Platform, ProcessFigures, Runtime, ServiceStatus } from '../../context.ts'
import { settings } from '../../config/settings.ts'
import { acrossWorkspaces } from '../../db/scope.ts'
import { productName, version } from '../../lib/version.ts'
import { measureComponents, overall, pendingSchemaChanges } from '../health.service.ts'
import type { ApiMetrics } from '../metrics/api-metrics.ts'
import type { createBacklog } from '../metrics/backlog.ts'
import { liveConfig, liveSettings } from './live.ts'

export interface SystemInfo {
  name: string
  version: string
  platform: Platform
  environment: Config['environment']
  instance: string
  /** Null where there is no process that lasts. */
  process: ProcessFigures | null
  started_at: string | null
  time: string
  schema: { pending_migrations: string[] }
}

export async function readSystemInfo(runtime: Runtime): Promise<SystemInfo> {
  const now = runtime.clock.now()
  const figures = runtime.figures?.() ?? null
  return {
    name: productName,
    version,
    platform: runtime.platform,
    environment: runtime.config.environment,
    instance: runtime.instance,
    process: figures,
    started_at: figures ? new Date(now.getTime() - figures.uptime_ms).toISOString() : null,
    time: now.toISOString(),
    schema: { pending_migrations: await pendingSchemaChanges(runtime) },
  }
}

export interface ConfigLine {
  key: string
  category: string
  /** Secrets are `***`; null where nothing sets it. */
  value: string | null
  source: 'database' | 'environment' | 'default' | 'computed' | 'unset'
}

/** Every variable as this process has it. */
export function readSystemConfig({ config }: Pick<Runtime, 'config'>): {
  items: ConfigLine[]
  warnings: readonly string[]
} {
  const overridden = liveSettings(config)?.overridden
  const live = liveConfig(config)
  const table: Record<string, { category: string } | undefined> = settings
  const items = config.effective.map(({ variable, value, source }): ConfigLine => {
    const category = table[variable]?.category ?? 'General'
    if (overridden?.has(variable))
      return { key: variable, category, value: written(live[camelCase(variable)]), source: 'database' }
    return { key: variable, category, value: source === 'unset' ? null : value, source }
  })
  return { items, warnings: config.warnings }
}

const camelCase = (variable: string) =>
  variable.toLowerCase().replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()) as keyof Config

const units: Record<number, string> = { 1: 'second', 60: 'minute', 3600: 'hour', 86_400: 'day' }

/** As the environment would say it. Of what the database may say only rates are no text of their own. */
function written(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value)
  const { limit, windowSeconds } = value as { limit: number; windowSeconds: number }
  return `${limit}/${units[windowSeconds] ?? `${windowSeconds} s`}`
}

export interface SystemComponents {
  status: ComponentHealth['status']
  components: Record<string, ComponentHealth>
  /** Null where nothing calls services beside the requests. */
  services: ServiceStatus[] | null
}

export async function readSystemComponents(runtime: Runtime): Promise<SystemComponents> {
  const components = await measureComponents(runtime)
  return { status: overall(components), components, services: runtime.services?.() ?? null }
}

export interface SystemMetrics {
  /** On Workers each isolate counts for itself. */
  scope: 'process' | 'isolate'
  uptime_ms: number
  http: { calls: number; errors: number; in_flight: number; avg_ms: number | null }
  process: ProcessFigures | null
  /** What waits in the database, for all processes together; null where it did not answer in time. */
  backlog: Record<string, number> | null
}

export async function readSystemMetrics(
  runtime: Runtime,
  { metrics, backlog }: { metrics: ApiMetrics; backlog: ReturnType<typeof createBacklog> },
): Promise<SystemMetrics> {
  const slots = metrics.slots()
  const sum = (valueOf: (slot: (typeof slots)[number]) => number) => slots.reduce((all, slot) => all + valueOf(slot), 0)
  const calls = sum((slot) => slot.callCount)
  // Of all workspaces: the operator of the installation asks.
  const families = await acrossWorkspaces(runtime.db, (db) => backlog({ ...runtime, db }))
  const samples = families.flatMap(({ name, samples: given }) =>
    given.map(({ labels, value }) => [labelled(name, labels), value] as const),
  )
  return {
    scope: runtime.platform === 'workers' ? 'isolate' : 'process',
    uptime_ms: Math.round(metrics.uptimeMs(runtime.clock)),
    http: {
      calls,
      errors: sum((slot) => slot.errorCount),
      in_flight: metrics.inFlight,
      avg_ms: calls === 0 ? null : Math.round((sum((slot) => slot.totalMs) / calls) * 1000) / 1000,
    },
    process: runtime.figures?.() ?? null,
    backlog: samples.length === 0 ? null : Object.fromEntries(samples),
  }
}

const labelled = (name: string, labels: Record<string, string> | undefined) =>
  [name, ...Object.values(labels ?? {})].join(':')
