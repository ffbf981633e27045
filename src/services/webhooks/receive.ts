import type { LimitDecision, Runtime, ServiceContext } from '../../context.ts'
import type { StoredRequest } from '../../db/tables/webhooks.table.ts'
import { AppError, problemTypes } from '../../lib/errors.ts'
import { sha256Hex } from '../../lib/canonical.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { Json } from '../../lib/json.ts'
import { inStoredOrder } from '../../lib/stored-json.ts'
import { openSecrets } from '../subscriptions/secrets.ts'
import { decodeBody } from './decode.ts'
import { decodeForm, isForm, type ReceivedFile } from './form.ts'
import { findReceipt, insertReceipt } from './receipts.ts'
import { actingAs, deliver, type Outcome } from './start.ts'
import { findByAddress, findWebhook } from './store.ts'
import { refusalOf } from './verify-sender.ts'
import type { WebhookRow } from './view.ts'

/** Larger requests are run, and not kept: they cannot be delivered again. */
const largestKept = 262_144
/** Lines a minute that a stranger can write into the log of a webhook. */
const refusalsLogged = 20
const longestEventId = 200

export interface IncomingRequest {
  id: string
  headers: Headers
  query: URLSearchParams
  body: Uint8Array
}

/** Who sent it is settled first, then how often, then what: a stranger learns nothing and uses nothing up. */
export async function receiveWebhook(
  runtime: Runtime,
  incoming: IncomingRequest,
): Promise<Outcome & { ctx: ServiceContext }> {
  const hook = await findByAddress(runtime.db, incoming.id)
  const ctx = actingAs(runtime, hook)
  const secrets = await openSecrets(ctx.cipher, 'webhooks', hook)
  const refusal = refusalOf(hook.auth, secrets, { ...incoming, nowMs: hook.now.getTime() })
  if (refusal !== null) {
    await logRefusal(ctx, hook, incoming, 401, refusal)
    throw new AppError('unauthenticated', 'The webhook does not accept this request.')
  }
  const decision = await limitOf(ctx, hook)
  if (decision && !decision.allowed) {
    const seconds = Math.max(1, decision.resetSeconds)
    await logRefusal(ctx, hook, incoming, 429, `More than ${hook.rate_limit} requests a minute.`)
    throw new AppError('rate-limited', `The webhook takes ${hook.rate_limit} requests a minute.`, {
      headers: { 'retry-after': String(seconds) },
    })
  }
  const { body, files } = await readable(ctx, hook, incoming)
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
      size: incoming.body.byteLength,
    },
    // The bytes of files are kept apart from the request.
    (files.length > 0 ? JSON.stringify(body).length * 3 : incoming.body.byteLength) <= largestKept ? request : null,
    files,
  )
  return { ...outcome, ctx }
}

/** The same request once more, with the filter, the mapping and the recipe as they are now. */
export async function redeliverReceipt(
  ctx: ServiceContext,
  { id, delivery }: { id: string; delivery: string },
): Promise<Outcome> {
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
    },
    receipt.request,
  )
}

async function readable(
  ctx: ServiceContext,
  hook: WebhookRow,
  { body, headers }: IncomingRequest,
): Promise<{ body: Json; files: ReceivedFile[] }> {
  try {
    if (body.byteLength > hook.max_body_bytes)
      throw new AppError('too-large', `The webhook takes ${hook.max_body_bytes} bytes at most.`)
    const contentType = headers.get('content-type')
    if (isForm(contentType)) return decodeForm(body, contentType)
    return { body: decodeBody(body, contentType), files: [] }
  } catch (error) {
    if (error instanceof AppError)
      await logRefusal(ctx, hook, { body, headers }, problemTypes[error.kind].status, error.detail)
    throw error
  }
}

/** A limiter that is away lets requests pass, as it does everywhere. */
async function limitOf({ limiter, log }: Runtime, hook: WebhookRow): Promise<LimitDecision | null> {
  try {
    return await limiter.take(`webhook:${hook.id}`, hook.rate_limit, 60)
  } catch (error) {
    log.warn('The rate limiter does not answer; a webhook was let pass.', { webhook_id: hook.id, error })
    return null
  }
}

/** Only so many a minute: the log must not be a way to fill the database. */
async function logRefusal(
  { db, limiter, log }: ServiceContext,
  hook: WebhookRow,
  { body, headers }: Pick<IncomingRequest, 'body' | 'headers'>,
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
    size: body.byteLength,
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
