import { sql } from 'kysely'
import type { BackgroundService, Runtime } from '../../context.ts'
import type { Json } from '../../lib/json.ts'
import { withSecrets, type KeptText } from '../../lib/language/secrets.ts'
import { actingIn } from '../acting-in.ts'
import { fateOf } from '../outbox/backoff.ts'
import { tryTimeoutMs, type Message, type Outbox } from '../outbox/outbox.ts'
import { createRelay } from '../outbox/relay.ts'
import { discard, settle } from '../outbox/settle.ts'
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

const seconds = 1000
const minutes = 60 * seconds

const outbox: Outbox = {
  table: 'failure_notices',
  key: ['run_id', 'generation', 'number'],
  state: { column: 'delivery', taken: 'sent' },
  delaysMs: [10 * seconds, minutes, 5 * minutes, 30 * minutes, 120 * minutes],
  most: { pass: 20, process: 100, workspace: 4 },
  // Written before the end that it tells of, it waits for that end, or for another.
  ready: sql`(
    select r.finished_at is not null or r.generation > o.generation from runs r where r.id = o.run_id)`,
  select: sql`
    select o.*, r.generation > o.generation or r.state = o.state as happened
    from claimed o join runs r on r.id = o.run_id`,
}

interface Claimed extends Message {
  run_id: string
  generation: number
  number: number
  state: string
  notice: StoredNotice
  /** False: the run was cut off before that end and has come to another. */
  happened: boolean
}

/**
 * Sends the notices of runs that have failed, each once for a generation: one that was taken is not sent again, and a try
 * whose outcome nobody noted is repeated under its Idempotency-Key. Any number of processes may tick at once.
 */
export const deliverNotices = createRelay(outbox, async (runtime: Runtime, notice: Claimed) => {
  const { run_id, generation, number, happened } = notice
  if (!happened) return discard(runtime.db, outbox, notice)
  const failure = await send(runtime, notice)
  const refusal = failure && { isFinal: !failure.retryable, retryAfterMs: failure.retryAfterMs }
  const fate = fateOf(outbox, notice, refusal, runtime)
  const isNoted = await settle(runtime.db, outbox, notice, fate, sql`error = ${failure?.message ?? null}::text`)
  if (failure && fate.state === 'failed' && isNoted)
    runtime.log.warn('A notice of a failure could not be sent.', {
      run_id,
      generation,
      number,
      reason: failure.message,
    })
})

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
      { ctx, runId: run_id, signal: AbortSignal.timeout(tryTimeoutMs), log: () => {}, renderText: (text) => text },
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
