import type { Runtime, ServiceContext } from '../../context.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import type { StoredRequest } from '../../db/tables/webhooks.table.ts'
import { AppError, problemTypes } from '../../lib/errors.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { evaluateExpression } from '../../lib/language/expression.ts'
import { LanguageError, type Scope } from '../../lib/language/scope.ts'
import { renderTree } from '../../lib/language/tree.ts'
import { actingIn } from '../acting-in.ts'
import { heldBack, joined } from '../idempotency/joined.ts'
import { loadRecipeForRun } from '../recipes.service.ts'
import { startRun } from '../runs/index.ts'
import { bindReceived, storeReceived, type ReceivedFile } from './form.ts'
import { findFirst, insertReceipt, type NewReceipt } from './receipts.ts'
import type { WebhookRow } from './view.ts'

/** What became of a delivery whose sender is known. */
export interface Outcome {
  verdict: 'accepted' | 'filtered' | 'duplicate'
  receiptId: string
  runId: string | null
  /** Of a run that was started. */
  status?: RunState
  /** The run that an earlier trigger made has taken it in. */
  debounced?: true
}

type Draft = Pick<NewReceipt, 'eventId' | 'redeliveryOf' | 'contentType' | 'size' | 'signatureHash'>

/** Acts as the webhook: in its workspace, with no right but, where its makers had it, to be told how its own run ends. */
export const actingAs = (runtime: Runtime, hook: WebhookRow): ServiceContext =>
  actingIn(runtime, {
    kind: 'system',
    id: hook.id,
    workspaceId: hook.workspace_id,
    permissions: new Set(hook.tells_output ? ['executions:read'] : []),
  })

/**
 * Filters, maps and starts. The run and the line in the log that tells of it are one transaction, whose unique index lets
 * an event through once. What is refused is logged and thrown.
 */
export async function deliver(
  ctx: ServiceContext,
  hook: WebhookRow,
  request: StoredRequest,
  draft: Draft,
  kept: StoredRequest | null,
  files: readonly ReceivedFile[] = [],
): Promise<Outcome> {
  const receipt: NewReceipt = {
    ...draft,
    id: uuidv7(),
    webhookId: hook.id,
    workspaceId: hook.workspace_id,
    verdict: 'accepted',
    reason: null,
    status: 202,
    runId: null,
    request: kept,
  }
  try {
    const known = await firstOf(ctx, receipt)
    if (known) return known
    const scope = scopeOf(hook, request)
    if (hook.filter !== null && !passes(hook.filter, scope)) {
      // Nothing is kept of files that nobody wanted, so there is nothing to deliver again.
      return await filtered(ctx, files.length > 0 ? { ...receipt, request: null } : receipt)
    }
    return await accepted(ctx, hook, receipt, scope, files)
  } catch (error) {
    if (error instanceof AppError && problemTypes[error.kind].status < 500)
      await insertReceipt(ctx.db, {
        ...receipt,
        verdict: 'rejected',
        reason: reasonOf(error),
        status: problemTypes[error.kind].status,
      })
    throw error
  }
}

function scopeOf(hook: WebhookRow, { body, headers, query }: StoredRequest): Scope {
  return { body, headers, query, webhook: { id: hook.id, name: hook.name } }
}

function passes(filter: string, scope: Scope): boolean {
  const value = explained('The filter of the webhook', () => evaluateExpression(filter, scope))
  if (typeof value === 'boolean') return value
  throw new AppError('invalid', 'The filter of the webhook gave neither true nor false.')
}

function inputOf({ input }: WebhookRow, scope: Scope): Json {
  if (input !== null) return explained('The mapping of the webhook', () => renderTree(input, scope))
  return isObject(scope['body']) ? scope['body'] : { body: scope['body'] ?? null }
}

function explained<T>(what: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof LanguageError) throw new AppError('invalid', `${what} could not be applied: ${error.message}`)
    throw error
  }
}

async function filtered(ctx: ServiceContext, receipt: NewReceipt): Promise<Outcome> {
  const isFirst = await insertReceipt(ctx.db, {
    ...receipt,
    verdict: 'filtered',
    reason: 'The filter said no.',
    status: 200,
  })
  if (!isFirst) return (await firstOf(ctx, receipt))!
  return { verdict: 'filtered', receiptId: receipt.id, runId: null }
}

async function accepted(
  ctx: ServiceContext,
  hook: WebhookRow,
  receipt: NewReceipt,
  scope: Scope,
  files: readonly ReceivedFile[],
): Promise<Outcome> {
  const recipe = await loadRecipeForRun(ctx.db, hook.workspace_id, hook.recipe_id)
  if (!recipe) throw new AppError('conflict', 'The recipe of the webhook does not exist any more.')
  const trigger: JsonObject = {
    kind: 'webhook',
    webhook_id: hook.id,
    webhook_name: hook.name,
    delivery_id: receipt.id,
    ...(receipt.eventId !== null && { event_id: receipt.eventId }),
    ...(ctx.requestId !== undefined && { request_id: ctx.requestId }),
  }
  await storeReceived(ctx, files)
  const wake = heldBack(ctx.wake)
  const started = await ctx.db.transaction().execute(async (tx) => {
    // The line in the log comes first: where the event is known already, no run is made for it.
    if (!(await insertReceipt(tx, receipt))) return null
    const run = await startRun(
      { ...ctx, db: joined(tx), wake },
      {
        definition: recipe.definition,
        recipe: { id: recipe.id, version: recipe.version },
        trigger,
        input: inputOf(hook, scope),
        inputPointer: '/input',
        stateKey: hook.id,
        ...(hook.priority !== null && { priority: hook.priority }),
      },
    )
    await tx.updateTable('webhook_receipts').set({ run_id: run.id }).where('id', '=', receipt.id).execute()
    await bindReceived({ ...ctx, db: tx }, files, run.id)
    return run
  })
  if (started === null) return (await firstOf(ctx, receipt))!
  wake.release()
  const { id: runId, status, debounced } = started
  return { verdict: 'accepted', receiptId: receipt.id, runId, status, ...(debounced && { debounced }) }
}

/** Null where the event has not come before. Otherwise that is noted, and the answer is what the first one had. */
async function firstOf(ctx: ServiceContext, receipt: NewReceipt): Promise<Outcome | null> {
  if ((receipt.eventId === null && receipt.signatureHash === null) || receipt.redeliveryOf !== null) return null
  const first = await findFirst(ctx.db, receipt)
  if (!first) return null
  const id = uuidv7()
  await insertReceipt(ctx.db, {
    ...receipt,
    id,
    verdict: 'duplicate',
    reason: `The event came before, as ${first.id}.`,
    status: 200,
    runId: first.run_id,
    request: null,
  })
  return { verdict: 'duplicate', receiptId: id, runId: first.run_id }
}

const reasonOf = ({ detail, errors = [] }: AppError) =>
  [detail, ...errors.map((fault) => `${fault.pointer}: ${fault.detail}`)].join(' ')
