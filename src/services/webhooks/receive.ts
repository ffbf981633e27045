import type { LimitDecision, Runtime, ServiceContext } from '../../context.ts'
import type { StoredRequest } from '../../db/tables/webhooks.table.ts'
import { AppError, problemTypes } from '../../lib/errors.ts'
import { sha256Hex } from '../../lib/canonical.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { Json } from '../../lib/json.ts'
import { readAtMost } from '../../lib/read-at-most.ts'
import { requirePermission } from '../../lib/require-permission.ts'
import { inStoredOrder } from '../../lib/stored-json.ts'
import { openSecrets } from '../subscriptions/secrets.ts'
import { decodeBody } from './decode.ts'
import { decodeForm, isForm, type ReceivedFile } from './form.ts'
import { findReceipt, insertReceipt } from './receipts.ts'
import { actingAs, deliver, type Outcome } from './start.ts'
import { findByAddress, findWebhook } from './store.ts'
import { refusalOf, signatureHashOf } from './verify-sender.ts'
import type { WebhookRow } from './view.ts'

/** Larger requests are run, and not kept: they cannot be delivered again. */
const largestKept = 262_144
/** Lines a minute that a stranger can write into the log of a webhook. */
const refusalsLogged = 20
const longestEventId = 200
/** Requests a minute that all webhooks of a workspace take together: as many as one of them may be given. */
const mostOfWorkspace = 10_000

export interface IncomingRequest {
  id: string
  headers: Headers
  query: URLSearchParams
  /** Its body is read here, within the limit of the webhook. */
  request: Request
}

/** What a line in the log says of a request. */
interface Told {
  headers: Headers
  size: number
}

/**
 * Who sent it is settled first, then how often, then what: a stranger learns nothing and uses nothing up. No more is read
 * than the webhook takes, and of a stranger without a signature nothing.
 */
export async function receiveWebhook(
  runtime: Runtime,
  incoming: IncomingRequest,
): Promise<Outcome & { ctx: ServiceContext }> {
  const hook = await findByAddress(runtime.db, incoming.id)
  const ctx = actingAs(runtime, hook)
  const secrets = await openSecrets(ctx.cipher, 'webhooks', hook)
  const told: Told = { headers: incoming.headers, size: Number(incoming.headers.get('content-length') ?? 0) }
  let reading: Promise<Uint8Array> | undefined
  const read = () => (reading ??= readBody(ctx, hook, incoming.request, told))
  const refusal = await refusalOf(hook.auth, secrets, { ...incoming, body: read, nowMs: hook.now.getTime() })
  if (refusal !== null) {
    await logRefusal(ctx, hook, told, 401, refusal)
    throw new AppError('unauthenticated', 'The webhook does not accept this request.')
  }
  await requireTurn(ctx, hook, told, {
    budget: `webhook:${hook.id}`,
    limit: hook.rate_limit,
    whose: 'The webhook takes',
  })
  await requireTurn(ctx, hook, told, {
    budget: `webhooks:${hook.workspace_id}`,
    limit: mostOfWorkspace,
    whose: 'All webhooks of the workspace together take',
  })
  const bytes = await read()
  const { body, files } = await readable(ctx, hook, bytes, told)
  const request: StoredRequest = {
    headers: keptHeaders(hook, incoming.headers),
    query: Object.fromEntries([...incoming.query].filter(([name]) => name !== 'token' && name !== '__proto__')),
    body: inStoredOrder(body),
  }
  const outcome = await deliver(
    ctx,
    hook,
    request,
    {
      eventId: eventIdOf(hook, incoming.headers),
      redeliveryOf: null,
      contentType: incoming.headers.get('content-type'),
      size: bytes.byteLength,
      signatureHash: signatureHashOf(hook.auth, incoming.headers),
    },
    // The bytes of files are kept apart from the request.
    (files.length > 0 ? JSON.stringify(body).length * 3 : bytes.byteLength) <= largestKept ? request : null,
    files,
  )
  return { ...outcome, ctx }
}

/** The same request once more, with the filter, the mapping and the recipe as they are now. */
export async function redeliverReceipt(
  ctx: ServiceContext,
  { id, delivery }: { id: string; delivery: string },
): Promise<Outcome> {
  requirePermission(ctx, 'recipes:execute')
  const hook = await findWebhook(ctx.db, ctx, id)
  const receipt = await findReceipt(ctx.db, hook.id, delivery)
  if (receipt.request === null) {
    throw new AppError(
      'conflict',
      'This delivery was not kept: its sender was refused, it came twice, or it was larger than 256 KB.',
    )
  }
  return deliver(
    ctx,
    hook,
    receipt.request,
    {
      eventId: receipt.event_id,
      redeliveryOf: receipt.id,
      contentType: receipt.content_type,
      size: receipt.size,
      signatureHash: null,
    },
    receipt.request,
  )
}

async function readBody(ctx: ServiceContext, hook: WebhookRow, request: Request, told: Told): Promise<Uint8Array> {
  const { max_body_bytes } = hook
  const tooLarge = () => new AppError('too-large', `The webhook takes ${max_body_bytes} bytes at most.`)
  const bytes = await noted(ctx, hook, told, () => readAtMost(request, max_body_bytes, tooLarge))
  told.size = bytes.byteLength
  return bytes
}

function readable(
  ctx: ServiceContext,
  hook: WebhookRow,
  bytes: Uint8Array,
  told: Told,
): Promise<{ body: Json; files: ReceivedFile[] }> {
  return noted(ctx, hook, told, () => {
    const contentType = told.headers.get('content-type')
    if (isForm(contentType)) return decodeForm(bytes, contentType)
    return { body: decodeBody(bytes, contentType), files: [] }
  })
}

/** What is refused is logged. */
async function noted<T>(ctx: ServiceContext, hook: WebhookRow, told: Told, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof AppError) await logRefusal(ctx, hook, told, problemTypes[error.kind].status, error.detail)
    throw error
  }
}

async function requireTurn(
  ctx: ServiceContext,
  hook: WebhookRow,
  told: Told,
  { budget, limit, whose }: { budget: string; limit: number; whose: string },
): Promise<void> {
  const decision = await turnOf(ctx, hook, budget, limit)
  if (decision === null || decision.allowed) return
  const detail = `${whose} ${limit} requests a minute.`
  await logRefusal(ctx, hook, told, 429, detail)
  throw new AppError('rate-limited', detail, { headers: { 'retry-after': String(Math.max(1, decision.resetSeconds)) } })
}

/** A limiter that is away lets requests pass, as it does everywhere. */
async function turnOf(
  { limiter, log }: Runtime,
  hook: WebhookRow,
  budget: string,
  limit: number,
): Promise<LimitDecision | null> {
  try {
    return await limiter.take(budget, limit, 60)
  } catch (error) {
    log.warn('The rate limiter does not answer; a webhook was let pass.', { webhook_id: hook.id, error })
    return null
  }
}

/** Only so many a minute: the log must not be a way to fill the database. */
async function logRefusal(
  { db, limiter, log }: ServiceContext,
  hook: WebhookRow,
  { headers, size }: Told,
  status: number,
  reason: string,
): Promise<void> {
  try {
    const { allowed } = await limiter.take(`webhook-refusals:${hook.id}`, refusalsLogged, 60)
    if (!allowed) return
  } catch {
    return
  }
  await insertReceipt(db, {
    id: uuidv7(),
    webhookId: hook.id,
    workspaceId: hook.workspace_id,
    eventId: eventIdOf(hook, headers),
    verdict: 'rejected',
    reason,
    status,
    runId: null,
    redeliveryOf: null,
    contentType: headers.get('content-type'),
    size,
    signatureHash: null,
    request: null,
  })
  log.info('A webhook was refused.', { webhook_id: hook.id, status })
}

const commonIds = ['webhook-id', 'x-github-delivery', 'idempotency-key']

/** What the sender calls the event. Null: it names none, so nothing can be told apart. */
function eventIdOf(hook: WebhookRow, headers: Headers): string | null {
  for (const name of hook.event_id_header === null ? commonIds : [hook.event_id_header]) {
    const id = headers.get(name)?.trim()
    if (id) return id.length <= longestEventId ? id : `sha256:${sha256Hex(id)}`
  }
  return null
}

const secretHeaders = /^(authorization|cookie|proxy-|x-api-key$|webhook-signature$|x-forwarded|forwarded|cf-|x-real-ip)/

/** What a filter may look at: neither the proof of the sender nor what proxies add. */
function keptHeaders({ auth }: WebhookRow, headers: Headers): Record<string, string> {
  const own = 'header' in auth ? auth.header : null
  const kept = [...headers].filter(([name]) => name !== own && name !== '__proto__' && !secretHeaders.test(name))
  return Object.fromEntries(kept.slice(0, 64).map(([name, value]) => [name, value.slice(0, 2000)]))
}
