import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { ComponentHealth, Platform, ServiceContext, ServiceStatus } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { acrossWorkspaces } from '../../db/scope.ts'
import type { InstanceLoad } from '../../db/tables/heartbeat.table.ts'
import { AppError } from '../../lib/errors.ts'
import type { Page, PageRequest } from '../../lib/pagination.ts'
import { missedBeats } from './figures.ts'

export const instanceStates = ['alive', 'draining', 'stale', 'stopped'] as const
export type InstanceState = (typeof instanceStates)[number]

export interface Instance {
  id: string
  runtime: Platform
  version: string
  host: string | null
  pid: number | null
  state: InstanceState
  started_at: string
  last_beat_at: string
  period_s: number
  load: InstanceLoad
  leases_held: number
  components: Record<string, ComponentHealth>
}
export type InstanceService = ServiceStatus & { instance: string; instance_state: InstanceState; measured_at: string }

/** What an instance last said of itself, unless it has fallen silent since. */
export const currentState: RawBuilder<InstanceState> = sql<InstanceState>`case
  when i.state <> 'stopped' and i.last_beat_at + ${missedBeats}::text::integer * i.period_s * interval '1 second' < app_now()
  then 'stale' else i.state end`

export async function listInstances(
  { db }: Pick<ServiceContext, 'db'>,
  request: PageRequest & { state?: InstanceState | undefined },
): Promise<Page<Instance>> {
  const rows = await acrossWorkspaces(db, (all) => readInstances(all, request))
  return pageAfter(rows, request.limit, ({ id }) => id)
}

/** Every background service of every instance that has not ended, as that instance last told it. */
export async function listServices(
  { db }: Pick<ServiceContext, 'db'>,
  request: PageRequest,
): Promise<Page<InstanceService>> {
  const [instance, name] = readPosition(request.cursor)
  const { rows } = await sql<Omit<InstanceService, 'measured_at'> & { status: ServiceStatus; measured_at: Date }>`
    select i.id as instance, ${currentState} as instance_state, i.last_beat_at as measured_at, s.status
    from instances i cross join lateral jsonb_array_elements(i.services) as s(status)
    where i.state <> 'stopped' and (i.id, s.status ->> 'name') > (${instance}::text collate "C", ${name}::text)
    order by i.id, s.status ->> 'name' limit ${request.limit + 1}`.execute(db)
  const items = rows.map(({ status, measured_at, ...rest }) => ({
    ...rest,
    measured_at: measured_at.toISOString(),
    ...status,
  }))
  return pageAfter(items, request.limit, (item) => `${item.instance}/${item.name}`)
}

export async function readInstances(
  db: Kysely<Database>,
  request: { limit: number; cursor?: string | undefined; state?: InstanceState | undefined },
): Promise<Instance[]> {
  // Leases of all workspaces, but no more of them than how many. What holds one for an instance is named `instance/part`.
  const { rows } = await sql<Omit<Instance, 'started_at' | 'last_beat_at'> & { started_at: Date; last_beat_at: Date }>`
    with held as (
      select split_part(lease_owner, '/', 1) as instance_id, count(*)::integer as leases
      from runs where state = 'running' and lease_until > app_now() group by 1
    )
    select i.id, i.runtime, i.version, i.host, i.pid, ${currentState} as state, i.started_at, i.last_beat_at,
      i.period_s, i.load, coalesce(h.leases, 0) as leases_held, i.components
    from instances i left join held h on h.instance_id = i.id
    where i.id > ${request.cursor ?? ''}::text
      and ${request.state === undefined ? sql`true` : sql`${currentState} = ${request.state}::text`}
    order by i.id limit ${request.limit + 1}`.execute(db)
  return rows.map((row) => ({
    ...row,
    started_at: row.started_at.toISOString(),
    last_beat_at: row.last_beat_at.toISOString(),
  }))
}

function pageAfter<T>(rows: T[], limit: number, positionOf: (row: T) => string): Page<T> {
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  return { items, next_cursor: rows.length > limit && last !== undefined ? positionOf(last) : null }
}

function readPosition(cursor: string | undefined): [instance: string, name: string] {
  if (cursor === undefined) return ['', '']
  const at = cursor.lastIndexOf('/')
  if (at < 0) {
    const detail = 'This is not a cursor that a list has given.'
    throw new AppError('invalid', detail, { errors: [{ pointer: '/query/cursor', detail }] })
  }
  return [cursor.slice(0, at), cursor.slice(at + 1)]
}
