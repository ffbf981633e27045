import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import { canonicalJson, sha256Hex } from '../../lib/canonical.ts'
import { parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { Json } from '../../lib/json.ts'
import { checkExecution } from '../executions/find.ts'
import { keyReused } from '../idempotency/answer-once.ts'
import { wakeNudged } from '../runs/nudge.ts'
import { asStored } from '../runs/spill.ts'
import { isEnd } from '../runs/states.ts'
import { offerEvent, type OfferedEvent } from './waits.ts'

export const eventLimits = {
  keep: '24h',
  mostKeptMs: 30 * 86_400_000,
  payloadBytes: 256 * 1024,
  /** What the events of a workspace may take up until they end, each with what its row takes beside the payload. */
  keptBytes: 256 * 1024 * 1024,
  rowBytes: 256,
} as const
/** Waits that are looked at before the answer; those behind them are the tick's. */
const offeredAtOnce = 400

export interface SentEvent {
  id: string
  name: string
  execution_id: string | null
  /** Waits that it has ended so far. */
  delivered: number
  created_at: string
  expires_at: string
}

/** Sends an event to a workspace, or as a signal to one run. It is stored before it is offered, so a repeat finds it. */
export async function sendEvent(
  ctx: ServiceContext,
  request: { execution?: string; name: string; payload: Json; keep?: string; idempotencyKey?: string },
): Promise<SentEvent> {
  const runId = request.execution ?? null
  if (runId !== null) await checkAlive(ctx, runId)
  const keepMs = keptFor(request.keep)
  const requestHash = sha256Hex(canonicalJson([runId, request.name, request.payload, keepMs]))
  const payload = asStored(request.payload)
  const stored = await store(ctx, {
    runId,
    name: request.name,
    payload,
    keepMs,
    requestHash,
    key: request.idempotencyKey,
  })
  const event = stored.event ?? (await findByKey(ctx, request.idempotencyKey, requestHash))
  if (!event) throw stored.isFull ? full() : unsettled()
  if (!event.matched) await deliver(ctx, { ...event, workspace_id: ctx.actor.workspaceId, payload }, offeredAtOnce)
  const { delivered } = await ctx.db
    .selectFrom('event_waits')
    .select(sql<number>`count(*)::integer`.as('delivered'))
    .where('event_id', '=', event.id)
    .executeTakeFirstOrThrow()
  return {
    id: event.id,
    name: event.name,
    execution_id: event.run_id,
    delivered,
    created_at: event.created_at.toISOString(),
    expires_at: event.expires_at.toISOString(),
  }
}

interface EventRow {
  id: string
  run_id: string | null
  name: string
  request_hash: string
  matched: boolean
  cursor_run_id: string | null
  cursor_path: string | null
  created_at: Date
  expires_at: Date
}

interface NewEvent {
  runId: string | null
  name: string
  payload: Json
  keepMs: number
  requestHash: string
  key: string | undefined
}

/** Stores an event where the workspace has room for it. None: there is no room, or its key has been used. */
async function store(ctx: ServiceContext, event: NewEvent): Promise<{ event: EventRow | null; isFull: boolean }> {
  const { workspaceId, id: createdBy } = ctx.actor
  const { rows } = await sql<Omit<EventRow, 'id'> & { id: string | null; is_full: boolean }>`
    with room as materialized (
      select coalesce(sum(bytes), 0) + octet_length(${jsonb(event.payload)}::text) + ${eventLimits.rowBytes}::integer
        > ${eventLimits.keptBytes}::bigint as is_full
      from event_bytes where workspace_id = ${workspaceId} and until > app_now()
    ), stored as (
      insert into inbound_events (id, workspace_id, run_id, name, payload, idempotency_key, request_hash, created_by,
        expires_at)
      select ${uuidv7(ctx.clock.now().getTime())}::uuid, ${workspaceId}::uuid, ${event.runId}::uuid, ${event.name},
        ${jsonb(event.payload)}, ${event.key ?? null}::text, ${event.requestHash}, ${createdBy}::text,
        app_now() + ${event.keepMs}::double precision * interval '1 millisecond'
      from room where not is_full
      on conflict (workspace_id, idempotency_key) where idempotency_key is not null do nothing
      returning id, workspace_id, run_id, name, request_hash, matched, cursor_run_id, cursor_path, bytes, created_at,
        expires_at
    ), counted as (
      insert into event_bytes (workspace_id, until, bytes)
      select workspace_id, date_trunc('hour', expires_at) + interval '1 hour', bytes + ${eventLimits.rowBytes}::integer
      from stored
      on conflict (workspace_id, until) do update set bytes = event_bytes.bytes + excluded.bytes
    )
    select room.is_full, stored.id, stored.run_id, stored.name, stored.request_hash, stored.matched,
      stored.cursor_run_id, stored.cursor_path, stored.created_at, stored.expires_at
    from room left join stored on true`.execute(ctx.db)
  const { is_full: isFull, id, ...rest } = rows[0]!
  return { event: id === null ? null : { id, ...rest }, isFull }
}

const full = () =>
  new AppError(
    'conflict',
    `The workspace keeps as many events as it may (${eventLimits.keptBytes / 1024 / 1024} MB). Send with a shorter \`keep\`, or wait until some are over.`,
  )

/** The first one was removed, at the end of its life, between the two looks. */
const unsettled = () =>
  new AppError('request-in-progress', 'The first request with this Idempotency-Key is not settled.')

/** Offers an event to those who wait, and notes where all have been. */
export async function deliver(
  { db, wake }: Pick<ServiceContext, 'db' | 'wake'>,
  event: OfferedEvent,
  most: number,
): Promise<boolean> {
  const { given, more } = await offerEvent(db, event, most)
  for (const { runId, state } of given) wakeNudged(wake, runId, state)
  if (!more) await db.updateTable('inbound_events').set({ matched: true }).where('id', '=', event.id).execute()
  return !more
}

async function checkAlive(ctx: ServiceContext, id: string): Promise<void> {
  await checkExecution(ctx, id)
  const run = await ctx.db.selectFrom('runs').select('state').where('id', '=', id).executeTakeFirst()
  if (run && isEnd(run.state)) throw new AppError('conflict', `Execution ${id} has ended: it is ${run.state}.`)
}

function keptFor(keep: string = eventLimits.keep): number {
  const ms = parseDuration(keep)
  if (ms !== null && ms > 0 && ms <= eventLimits.mostKeptMs) return ms
  const detail = 'must be a duration such as 30s, 5m or 24h, at most 30d'
  throw new AppError('invalid', `keep ${detail}.`, { errors: [{ pointer: '/keep', detail }] })
}

async function findByKey(
  ctx: ServiceContext,
  key: string | undefined,
  requestHash: string,
): Promise<EventRow | undefined> {
  if (key === undefined) return undefined
  const event = await ctx.db
    .selectFrom('inbound_events')
    .select(['id', 'run_id', 'name', 'request_hash', 'matched'])
    .select(['cursor_run_id', 'cursor_path', 'created_at', 'expires_at'])
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('idempotency_key', '=', key)
    .executeTakeFirst()
  if (event && event.request_hash !== requestHash) throw keyReused()
  return event
}
