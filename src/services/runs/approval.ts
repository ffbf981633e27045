import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import { parseDuration } from '../../lib/duration.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { renderText } from '../../lib/language/template.ts'
import { renderTree } from '../../lib/language/tree.ts'
import type { ApprovalStep } from '../recipes/definition.ts'
import { asStepError, draftOf, errorView, failStep, succeed, type StepResult } from './attempts.ts'
import { awaitOutside, type Look } from './await-outside.ts'
import type { Flow, Frame } from './flow.ts'
import type { StepRecord } from './records.ts'
import { RunLost } from './run-writer.ts'
import { asStored } from './spill.ts'
import { StepError } from './step-executor.ts'

/** Kinds of error that have a field of their own for what follows: `on_reject`, `on_timeout`. */
export const rejected = 'rejected'
export const expired = 'expired'

/** An inbox is no place for more. */
const largestPayload = 256 * 1024
export const payloadTooLarge = (payload: Json): string | null =>
  JSON.stringify(payload).length > largestPayload ? `The payload is larger than ${largestPayload / 1024} KB.` : null
const longestMessage = 20_000

interface Decided {
  id: string
  state: 'pending' | 'approved' | 'rejected' | 'expired'
  comment: string | null
  payload: Json
  decided_by: JsonObject | null
  expires_at: Date | null
}

/** Parks the run until a person has decided. The row in `approvals` is the truth; the step reads it however often it looks. */
export async function runApproval(
  flow: Flow,
  step: ApprovalStep,
  path: string,
  frame: Frame,
  record: StepRecord | undefined,
): Promise<StepResult> {
  let draft = draftOf(flow, step, path, frame, record)
  const isNew = record?.status !== 'waiting'
  if (isNew) draft = { ...draft, attempts: 1, startedMs: flow.runtime.clock.monotonicMs() }
  let asked: { message: string; payload: Json | undefined }
  try {
    asked = questionOf(flow, step, frame)
  } catch (error) {
    return failStep(flow, draft, errorView(asStepError(flow, error), 1))
  }
  const { db } = flow.runtime
  // What is asked was worked out from results: they are stored before anybody decides on it.
  await flow.readyForEffect(frame.signal)
  await flow.read(() => requestApproval(flow, step, path, asked))

  let shown = !isNew
  const look = async (): Promise<Look<Decided>> => {
    const seen = await lookAtApproval(db, flow.run, path)
    if (!seen) {
      flow.writer.markLost()
      throw new RunLost()
    }
    if (seen.state !== 'pending') return { found: seen }
    draft = { ...draft, status: 'waiting', wake_at: seen.expires_at?.toISOString() ?? null }
    if (!shown) {
      flow.write(draft)
      const until: JsonObject = draft.wake_at === null ? {} : { until: draft.wake_at }
      flow.emit('step.waiting', { path, kind: step.kind, approval_id: seen.id, ...until })
      shown = true
    }
    return { until: seen.expires_at }
  }
  const result = await awaitOutside(flow, path, frame.signal, look)
  if (result === 'parked') return { status: 'parked' }
  const decided = result.found
  draft = { ...draft, wake_at: null }
  if (decided.state === 'expired') flow.emit('approval.expired', { path, approval_id: decided.id })
  const outcome = outcomeOf(decided, step)
  if (outcome instanceof StepError) return failStep(flow, draft, errorView(outcome, 1))
  return succeed(flow, draft, outcome)
}

function questionOf(flow: Flow, step: ApprovalStep, frame: Frame): { message: string; payload: Json | undefined } {
  const scope = flow.scope(frame)
  const payload = step.payload === undefined ? undefined : asStored(renderTree(step.payload, scope))
  const tooLarge = payload === undefined ? null : payloadTooLarge(payload)
  if (tooLarge !== null) throw new StepError('payload_too_large', tooLarge, { retryable: false })
  // The column takes no NUL.
  const message = renderText(step.message, scope).replaceAll('\0', '').slice(0, longestMessage)
  return { message, payload }
}

/** Under the owner's fence; the same however often it is called. The log tells of it once. */
async function requestApproval(
  { run, runtime }: Flow,
  step: ApprovalStep,
  path: string,
  { message, payload }: { message: string; payload: Json | undefined },
): Promise<void> {
  const timeoutMs = step.timeout === undefined ? null : parseDuration(step.timeout)
  await sql`
    with held as materialized (
      select id, workspace_id from runs
      where id = ${run.id} and fence = ${run.fence} and state = 'running' for no key update
    ), made as (
      insert into approvals (id, workspace_id, run_id, path, generation, step_id, name, message, payload,
        payload_schema, expires_at)
      select ${uuidv7(runtime.clock.now().getTime())}::uuid, workspace_id, id, ${path}, ${run.generation}::integer,
        ${step.id}, ${step.name ?? null}, ${message}, ${payload === undefined ? null : jsonb(payload)},
        ${step.payload_schema ? jsonb(step.payload_schema) : null},
        app_now() + ${timeoutMs}::double precision * interval '1 millisecond'
      from held
      on conflict do nothing
      returning id, run_id, path, message
    ), numbered as (
      update runs r set last_seq = r.last_seq + 1 from made where r.id = made.run_id returning r.id, r.last_seq
    )
    insert into run_events (run_id, seq, type, data)
    select n.id, n.last_seq, 'approval.requested',
      jsonb_build_object('path', m.path, 'approval_id', m.id, 'message', m.message)
    from numbered n, made m`.execute(runtime.db)
}

/** How it stands; one whose time is over is closed by the look. */
async function lookAtApproval(
  db: Kysely<Database>,
  { id, generation }: { id: string; generation: number },
  path: string,
): Promise<Decided | undefined> {
  const columns = sql`id, state, comment, coalesce(decided_payload, payload) as payload, decided_by, expires_at`
  const mine = sql`run_id = ${id} and path = ${path} and generation = ${generation}`
  const { rows } = await sql<Decided>`
    with over as (
      update approvals set state = 'expired' where ${mine} and state = 'pending' and expires_at <= app_now()
      returning *
    )
    select ${columns} from over
    union all
    select ${columns} from approvals where ${mine} and not exists (select from over)`.execute(db)
  return rows[0]
}

/** What the step gives, or why it fails. */
function outcomeOf(decided: Decided, step: ApprovalStep): Json | StepError {
  const { comment, payload } = decided
  const late = decided.state === 'expired'
  const approved = decided.state === 'approved' || (late && step.on_timeout === 'approve')
  if (approved)
    return { decision: 'approved', comment, payload, decided_by: late ? { kind: 'timeout' } : decided.decided_by }
  if (late && step.on_timeout !== 'reject')
    return new StepError(expired, `Nobody decided within ${step.timeout}.`, { retryable: false })
  const why = late ? `Nobody decided within ${step.timeout}.` : (comment ?? '')
  return new StepError(rejected, why === '' ? 'It was rejected.' : `It was rejected: ${why}`, { retryable: false })
}
