import { sql } from 'kysely'
import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import type { Json } from '../../lib/json.ts'
import { withSecrets, type KeptText } from '../../lib/language/secrets.ts'
import { actingIn } from '../acting-in.ts'
import { awaitQuick, InFlightByDatabase } from '../in-flight.ts'
import { StepError } from '../runs/step-executor.ts'
import type { Address } from './channel.ts'
import { writeLetter } from './channels.ts'

/** A notice with nothing left to render but the secrets of its address: its sending needs no run any more. */
export type StoredNotice = Omit<Address, 'id' | 'webhook'> & {
  webhook?: Omit<NonNullable<Address['webhook']>, 'url'> & { url: KeptText }
  message: string
  data?: Json
  body?: Json
}

/** Notices of one pass, those under way in a process, and of one workspace among them: whoever hangs holds up only its own tenant. */
const batch = 20
const mostInFlight = 100
const perWorkspace = 4
const underWay = new InFlightByDatabase()
const timeoutMs = 10_000
/** Longer than an attempt can take: whoever claimed it and died leaves it to the next after that. */
const claimSeconds = 60
const delaysSeconds = [10, 60, 300, 1_800, 7_200]
const maxAttempts = delaysSeconds.length + 1

interface Claimed {
  run_id: string
  generation: number
  number: number
  workspace_id: string
  state: string
  notice: StoredNotice
  attempts: number
  /** False: the run was cut off before that end and has come to another. */
  happened: boolean
}

/**
 * Sends the notices of runs that have failed, each once for a generation: one that was taken is not sent again, and a try
 * whose outcome nobody noted is repeated under its Idempotency-Key. Any number of processes may tick at once.
 */
export async function deliverNotices(runtime: Runtime): Promise<TickReport> {
  const inFlight = underWay.of(runtime.db)
  const room = Math.min(batch, mostInFlight - inFlight.total)
  if (room <= 0) return { done: 0, more: false }
  const claimed = await claim(runtime, room, inFlight.held())
  const attempts = claimed.map((notice) => inFlight.run([notice.workspace_id], () => deliver(runtime, notice)))
  await awaitQuick(Promise.all(attempts), (work) => runtime.defer(work))
  return { done: claimed.length, more: claimed.length >= perWorkspace }
}

async function claim({ db }: Runtime, room: number, held: Record<string, number>): Promise<Claimed[]> {
  const { rows } = await sql<Claimed>`
    with recursive tenants as (
      (select workspace_id from failure_notices where delivery = 'pending' order by workspace_id limit 1)
      union all
      select (select n.workspace_id from failure_notices n
        where n.delivery = 'pending' and n.workspace_id > t.workspace_id order by n.workspace_id limit 1)
      from tenants t where t.workspace_id is not null
    ), under_way as materialized (
      select key::uuid as id, value::integer as count from jsonb_each_text(${JSON.stringify(held)}::text::jsonb)
    ), candidates as materialized (
      select head.* from tenants t
      left join under_way u on u.id = t.workspace_id
      cross join lateral (
        select n.run_id, n.generation, n.number, r.generation > n.generation or r.state = n.state as happened
        from failure_notices n join runs r on r.id = n.run_id
        where n.workspace_id = t.workspace_id and n.delivery = 'pending' and n.next_attempt_at <= app_now()
          and (r.finished_at is not null or r.generation > n.generation)
        order by n.next_attempt_at
        limit greatest(0, ${perWorkspace}::integer - coalesce(u.count, 0))
        for update of n skip locked
      ) head
      limit ${room}::integer
    )
    update failure_notices n set attempts = attempts + 1,
      next_attempt_at = app_now() + make_interval(secs => ${claimSeconds}::integer)
    from candidates c where n.run_id = c.run_id and n.generation = c.generation and n.number = c.number
    returning n.run_id, n.generation, n.number, n.workspace_id, n.state, n.notice, n.attempts, c.happened`.execute(db)
  return rows
}

async function deliver(runtime: Runtime, claimed: Claimed): Promise<void> {
  const { run_id, generation, number, attempts } = claimed
  const it = sql`run_id = ${run_id} and generation = ${generation} and number = ${number} and attempts = ${attempts}`
  if (!claimed.happened) return void (await sql`delete from failure_notices where ${it}`.execute(runtime.db))
  const failure = await send(runtime, claimed)
  const again = failure?.retryable && attempts < maxAttempts
  const delay = Math.max(delaysSeconds[attempts - 1] ?? 0, (failure?.retryAfterMs ?? 0) / 1000)
  await sql`
    update failure_notices set error = ${failure?.message ?? null}::text,
      delivery = ${failure === null ? 'sent' : again ? 'pending' : 'failed'},
      next_attempt_at = case when ${again ?? false}::boolean
        then app_now() + make_interval(secs => ${delay}::double precision * (0.8 + 0.4 * random())) end
    where ${it}`.execute(runtime.db)
  if (failure !== null && !again)
    runtime.log.warn('A notice of a failure could not be sent.', {
      run_id,
      generation,
      number,
      reason: failure.message,
    })
}

/** Null: it was taken. */
async function send(
  runtime: Runtime,
  { run_id, generation, number, state, ...row }: Claimed,
): Promise<StepError | null> {
  const ctx = actingIn(
    runtime,
    { kind: 'system', id: run_id, workspaceId: row.workspace_id, permissions: new Set() },
    runtime.log.with({ run_id }),
  )
  const { message, data, body, webhook, ...address } = row.notice
  try {
    const letter = writeLetter(
      { id: 'on_failure', ...address, ...(webhook && { webhook: { ...webhook, url: withSecrets(webhook.url) } }) },
      { message, data, ...(body !== undefined && { body }) },
      // The log of the run ends with its end; and what is to be rendered was.
      { ctx, runId: run_id, signal: AbortSignal.timeout(timeoutMs), log: () => {}, renderText: (text) => text },
    )
    await letter?.send(`${run_id}/${generation}/~on_failure_${state}/${number}.0`)
    return null
  } catch (error) {
    if (error instanceof StepError) return error
    if (!(error instanceof DOMException)) runtime.log.error('A notice of a failure broke off.', { run_id, error })
    return new StepError('internal', 'It could not be sent.')
  }
}

export const noticesService: BackgroundService = { name: 'failure-notices', periodMs: 1000, tick: deliverNotices }
