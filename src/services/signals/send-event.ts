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
import { offerEvent } from './waits.ts'

export const eventLimits = { keep: '24h', mostKeptMs: 30 * 86_400_000, payloadBytes: 256 * 1024 } as const
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
  const { rows } = await sql<EventRow>`
    insert into inbound_events (id, workspace_id, run_id, name, payload, idempotency_key, request_hash, created_by,
      expires_at)
    values (${uuidv7(ctx.clock.now().getTime())}, ${ctx.actor.workspaceId}, ${runId}, ${request.name},
      ${jsonb(payload)}, ${request.idempotencyKey ?? null}, ${requestHash}, ${ctx.actor.id},
      app_now() + ${keepMs}::double precision * interval '1 millisecond')
    on conflict (workspace_id, idempotency_key) where idempotency_key is not null do nothing
    returning id, run_id, name, request_hash, matched, created_at, expires_at`.execute(ctx.db)
  const event = rows[0] ?? (await findByKey(ctx, request.idempotencyKey!, requestHash))
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
  created_at: Date
  expires_at: Date
}

/** Offers an event to those who wait, and notes where all have been. */
export async function deliver(
  { db, wake }: Pick<ServiceContext, 'db' | 'wake'>,
  event: { id: string; run_id: string | null; workspace_id: string; name: string; payload: Json },
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

async function findByKey(ctx: ServiceContext, key: string, requestHash: string): Promise<EventRow> {
  const event = await ctx.db
    .selectFrom('inbound_events')
    .select(['id', 'run_id', 'name', 'request_hash', 'matched', 'created_at', 'expires_at'])
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('idempotency_key', '=', key)
    .executeTakeFirst()
  // The first one was removed, at the end of its life, between the two looks.
  if (!event) throw new AppError('request-in-progress', 'The first request with this Idempotency-Key is not settled.')
  if (event.request_hash !== requestHash) throw keyReused()
  return event
}
