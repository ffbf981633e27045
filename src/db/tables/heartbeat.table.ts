import type { ComponentHealth, Platform, ServiceStatus } from '../../context.ts'
import type { JsonColumn } from '../json.ts'

/** How busy an instance was when it beat; null = not measured there. */
export interface InstanceLoad {
  runs_in_flight: number | null
  runs_capacity: number | null
  event_loop_lag_ms: number | null
  memory_bytes: number | null
}

/** The registry of instances. A row is written by its own instance alone, with each beat. */
export interface InstancesTable {
  /** `Runtime.instance`; on Workers `workers`, because isolates come and go by the minute. */
  id: string
  runtime: Platform
  version: string
  host: string | null
  pid: number | null
  /** What it last said of itself. One that fell silent is stale by `last_beat_at` and `period_s`. */
  state: 'alive' | 'draining' | 'stopped'
  started_at: Date
  last_beat_at: Date
  period_s: number
  load: JsonColumn<InstanceLoad>
  components: JsonColumn<Record<string, ComponentHealth>>
  services: JsonColumn<ServiceStatus[]>
}

/** How often a component was measured in which state, by instance and five minutes. */
export interface ComponentSamplesTable {
  bucket_at: Date
  component: string
  instance_id: string
  healthy: number
  degraded: number
  unhealthy: number
}
