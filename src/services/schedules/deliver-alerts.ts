import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import type { JsonObject } from '../../lib/json.ts'
import { fateOf, type Refusal } from '../outbox/backoff.ts'
import type { Message, Outbox } from '../outbox/outbox.ts'
import { post } from '../outbox/post.ts'
import { createRelay } from '../outbox/relay.ts'
import { settle } from '../outbox/settle.ts'

const seconds = 1000
const minutes = 60 * seconds
const hours = 60 * minutes

const outbox: Outbox = {
  table: 'schedule_events',
  key: ['id'],
  state: { column: 'delivery', taken: 'delivered' },
  delaysMs: [10 * seconds, minutes, 5 * minutes, 30 * minutes, 2 * hours, 6 * hours, 12 * hours],
  most: { pass: 20, process: 100, workspace: 4 },
}

interface Claimed extends Message {
  id: string
  schedule_id: string
  type: string
  data: JsonObject
  created_at: Date
}

/** Posts events to the addresses that their schedules name. At least once: the event's id tells a repeated one. */
export const deliverAlerts = createRelay(outbox, async (runtime: Runtime, event: Claimed) => {
  const { status, error, refusal } = await send(runtime, event)
  await settle(
    runtime.db,
    outbox,
    event,
    fateOf(outbox, event, refusal, runtime),
    sql`last_status = ${status}::int, last_error = ${error}::text,
      delivered_at = case when ${refusal === null}::boolean then app_now() end`,
  )
})

interface Outcome {
  status: number | null
  error: string | null
  /** Null: it was taken. */
  refusal: Refusal | null
}

async function send(runtime: Runtime, event: Claimed): Promise<Outcome> {
  const { id, type, data, workspace_id, created_at } = event
  const schedule = await runtime.db
    .selectFrom('schedules')
    .select('alerts')
    .where('id', '=', event.schedule_id)
    .where('workspace_id', '=', workspace_id)
    .executeTakeFirst()
  const target = schedule?.alerts
  if (!target) return { status: null, error: 'The schedule names no address any more.', refusal: { isFinal: true } }
  const answer = await post(
    runtime,
    () =>
      new Request(target.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'webhook-id': id, 'idempotency-key': id },
        body: JSON.stringify({ id, type, timestamp: created_at.toISOString(), data }),
      }),
    { workspaceId: workspace_id, ...(target.credential !== null && { credential: target.credential }) },
    { schedule_event: id },
  )
  if (answer.isTaken) return { status: answer.status, error: null, refusal: null }
  return { status: answer.status, error: answer.failure ?? `It answered ${answer.status}.`, refusal: answer }
}
