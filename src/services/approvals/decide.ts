import { sql } from 'kysely'
import type { Runtime, ServiceContext } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import { AppError } from '../../lib/errors.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { validateJson } from '../../lib/json-schema.ts'
import { recordAudit, type AuditContext, type AuditEntry } from '../audit/record.ts'
import { payloadTooLarge } from '../runs/approval.ts'
import { nudged, wakeNudged } from '../runs/nudge.ts'
import { asStored } from '../runs/spill.ts'
import { shownState, type Approval } from './approval.ts'
import { getApproval, type Reader } from './read-approvals.ts'

export interface Decision {
  decision: 'approved' | 'rejected'
  comment?: string | undefined
  /** In place of what was to be decided on; with an approval only. */
  payload?: Json | undefined
}

/** Who decided: `{kind: 'key'|'user'|'link', id, name?}`. */
export type Decider = JsonObject

type Context = Reader & Pick<Runtime, 'wake'> & Pick<ServiceContext, 'requestId' | 'client'>

/**
 * Decides an approval, exactly once: of any number at the same time one is written, in the commit that nudges the run and
 * adds to its log; all others are a conflict.
 */
export async function decideApproval(ctx: Context, id: string, decision: Decision, by: Decider): Promise<Approval> {
  const approval = await getApproval(ctx, id)
  if (approval.status !== 'pending') throw settled(approval)
  const payload = decision.payload === undefined ? undefined : asStored(decision.payload)
  if (payload !== undefined) checkPayload(approval, decision, payload)
  const comment = decision.comment?.replaceAll('\0', '') ?? null
  const done = await ctx.db.transaction().execute(async (tx) => {
    const { rows } = await sql<{ run_id: string; run_state: RunState | null }>`
    with held as materialized (
      select r.id, a.path from approvals a join runs r on r.id = a.run_id
      left join run_steps t on t.run_id = a.run_id and t.path = a.path
      where a.id = ${id} and a.workspace_id = ${ctx.actor.workspaceId} and ${shownState} = 'pending'
      for update of r
    ), decided as (
      update approvals a set state = ${decision.decision}, comment = ${comment}, decided_by = ${jsonb(by)},
        decided_payload = ${payload === undefined ? null : jsonb(payload)}, decided_at = app_now()
      from held
      where a.id = ${id} and a.state = 'pending' and (a.expires_at is null or a.expires_at > app_now())
      returning a.run_id, a.path
    )
    select run_id, ${nudged(sql.ref('run_id'), {
      type: 'approval.decided',
      data: sql`jsonb_build_object('path', path, 'approval_id', ${id}::text, 'decision', ${decision.decision}::text,
        'comment', ${comment}::text, 'decided_by', ${jsonb(by)})`,
    })} as run_state from decided`.execute(tx)
    if (rows[0]) await recordAudit(tx, auditedAs(ctx, by), auditEntry(id, decision, rows[0].run_id, by))
    return rows[0]
  })
  const now = await getApproval(ctx, id)
  if (!done) throw settled(now)
  wakeNudged(ctx.wake, done.run_id, done.run_state)
  return now
}

/** A link acts for nobody who could be named: it is an actor of its own. */
const auditedAs = ({ actor, requestId, client }: Context, { kind, id }: Decider): AuditContext => ({
  actor: {
    kind: kind === 'key' || kind === 'user' ? kind : 'system',
    id: String(id),
    workspaceId: actor.workspaceId,
    permissions: new Set(),
  },
  ...(requestId !== undefined && { requestId }),
  ...(client !== undefined && { client }),
})

const auditEntry = (id: string, { decision, payload }: Decision, runId: string, by: Decider): AuditEntry => ({
  action: `approval.${decision}`,
  target: { type: 'approval', id },
  after: { execution_id: runId, by: by['kind'] ?? null, edited: payload !== undefined },
})

function checkPayload(approval: Approval, { decision }: Decision, payload: Json): void {
  if (decision === 'rejected') {
    const detail = 'goes with an approval only'
    throw new AppError('invalid', `payload ${detail}.`, { errors: [{ pointer: '/payload', detail }] })
  }
  const tooLarge = payloadTooLarge(payload)
  if (tooLarge !== null)
    throw new AppError('invalid', tooLarge, { errors: [{ pointer: '/payload', detail: tooLarge }] })
  const faults = approval.payload_schema ? validateJson(approval.payload_schema, payload) : []
  if (faults.length === 0) return
  const errors = faults.map((fault) => ({ ...fault, pointer: `/payload${fault.pointer}` }))
  throw new AppError('invalid', 'The edited payload does not fit what the step asks for.', { errors })
}

const settled = ({ id, status, decided_at }: Approval): AppError => {
  const how: Record<Approval['status'], string> = {
    pending: 'is being decided by somebody else',
    approved: `was approved at ${decided_at}`,
    rejected: `was rejected at ${decided_at}`,
    expired: 'has expired',
    canceled: 'is not asked for any more: its run has ended or gone on without it',
  }
  return new AppError('conflict', `Approval ${id} ${how[status]}.`)
}
