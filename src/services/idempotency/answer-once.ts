import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { canonicalJson, sha256Hex } from '../../lib/canonical.ts'
import { AppError } from '../../lib/errors.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { keptHours } from '../../lib/idempotency-key.ts'
import type { Reply } from '../../lib/operation.ts'
import { heldBack, joined } from './joined.ts'

/** An operation that creates takes milliseconds; whoever takes longer has crashed or lost its connection. */
const leaseSeconds = 60
const retryAfterSeconds = 1

export interface KeyedRequest {
  operation: string
  key: string
  /** Everything that makes it this request and no other. */
  content: unknown
  /** The request or its answer is for the caller alone. */
  sealed: boolean
}

type Stored = Pick<Reply, 'status' | 'headers' | 'body'>

/**
 * Does the work for the first request with a key and gives its answer to every later one. The work, the key and the answer
 * are one transaction: a crash at any point leaves all of it or nothing. Work that throws has written nothing and
 * leaves no key behind.
 */
export async function answerOnce(
  ctx: ServiceContext,
  request: KeyedRequest,
  work: (ctx: ServiceContext) => Promise<Reply> | Reply,
): Promise<Reply> {
  const owner = uuidv7()
  const fingerprint = await fingerprintOf(ctx, request)
  const known = await claim(ctx, request, owner, fingerprint)
  if (known !== null) return replay(ctx, request, known)

  const wake = heldBack(ctx.wake)
  try {
    const reply = await ctx.db.transaction().execute(async (tx) => {
      const reply = await work({ ...ctx, db: joined(tx), wake })
      const { status, headers, body } = reply
      const text = JSON.stringify({ status, headers, body } satisfies { [K in keyof Stored]: unknown })
      const answer = request.sealed ? await ctx.cipher.seal(text, sealingPlace(ctx, request)) : text
      const { numUpdatedRows } = await tx
        .updateTable('idempotency_keys')
        .set({ answer })
        .where('workspace_id', '=', ctx.actor.workspaceId)
        .where('operation', '=', request.operation)
        .where('key', '=', request.key)
        .where('owner', '=', owner)
        .executeTakeFirstOrThrow()
      // It took longer than its lease, and another request with the key has begun: that one does the work now.
      if (numUpdatedRows === 0n) throw inProgress()
      return reply
    })
    wake.release()
    return reply
  } catch (error) {
    await release(ctx, request, owner)
    throw error
  }
}

/** Null: the key is this request's to work on. */
async function claim(
  ctx: ServiceContext,
  request: KeyedRequest,
  owner: string,
  fingerprint: string,
): Promise<string | null> {
  // A key may be released or expire between the two looks; then it is free.
  for (let look = 0; look < 3; look++) {
    if (await take(ctx, request, owner, fingerprint)) return null
    const row = await ctx.db
      .selectFrom('idempotency_keys')
      .select(['fingerprint', 'answer'])
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('operation', '=', request.operation)
      .where('key', '=', request.key)
      .executeTakeFirst()
    if (!row) continue
    if (!(await isSame(ctx, request, row.fingerprint, fingerprint))) throw keyReused()
    if (row.answer !== null) return row.answer
    throw inProgress()
  }
  throw inProgress()
}

/** Of any number at once one gets it. A key whose owner has crashed, or that has had its day, is taken over. */
async function take(ctx: ServiceContext, request: KeyedRequest, owner: string, fingerprint: string): Promise<boolean> {
  const { rows } = await sql`
    insert into idempotency_keys as k (workspace_id, operation, key, fingerprint, owner, lease_until)
    values (${ctx.actor.workspaceId}, ${request.operation}, ${request.key}, ${fingerprint}, ${owner},
      app_now() + ${leaseSeconds}::integer * interval '1 second')
    on conflict (workspace_id, operation, key) do update
      set fingerprint = excluded.fingerprint, owner = excluded.owner, lease_until = excluded.lease_until,
        answer = null, created_at = app_now()
      where k.answer is null and k.lease_until <= app_now()
        or k.created_at <= app_now() - ${keptHours}::integer * interval '1 hour'
    returning k.owner`.execute(ctx.db)
  return rows.length > 0
}

async function release(ctx: ServiceContext, request: KeyedRequest, owner: string): Promise<void> {
  try {
    await ctx.db
      .deleteFrom('idempotency_keys')
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('operation', '=', request.operation)
      .where('key', '=', request.key)
      .where('owner', '=', owner)
      // Where the commit's answer was lost the work is done, and the key says so.
      .where('answer', 'is', null)
      .execute()
  } catch (error) {
    ctx.log.warn('An idempotency key could not be released; its lease ends by itself.', { error })
  }
}

async function replay(ctx: ServiceContext, request: KeyedRequest, answer: string): Promise<Reply> {
  const text = request.sealed ? await ctx.cipher.open(answer, sealingPlace(ctx, request)) : answer
  // Safe: what `answerOnce` stored.
  const { status, headers, body } = JSON.parse(text) as Stored
  return {
    status,
    headers: { ...headers, 'idempotency-replayed': 'true' },
    ...(body === undefined ? {} : { body }),
  }
}

const purpose = 'idempotency'

/** What holds a secret is signed with a key of ours, so that nobody who reads the row can guess the secret from it. */
async function fingerprintOf({ actor, cipher }: ServiceContext, request: KeyedRequest): Promise<string> {
  if (!request.sealed) return sha256Hex(canonicalJson(request.content))
  return cipher.sign(callersText(actor, request), purpose)
}

async function isSame(
  { actor, cipher }: ServiceContext,
  request: KeyedRequest,
  stored: string,
  fingerprint: string,
): Promise<boolean> {
  if (!request.sealed) return stored === fingerprint
  return cipher.verify(callersText(actor, request), stored, purpose)
}

/** What is for the caller alone is no one else's to repeat. */
const callersText = (actor: ServiceContext['actor'], { content }: KeyedRequest) =>
  canonicalJson([actor.kind, actor.id, content])

const sealingPlace = ({ actor }: ServiceContext, { operation, key }: KeyedRequest) =>
  answerPlace(actor.workspaceId, operation, key)

/** Binds a sealed answer to its row. */
export const answerPlace = (workspaceId: string, operation: string, key: string): string =>
  `idempotency_keys:${workspaceId}:${operation}:${key}`

export const keyReused = () =>
  new AppError('idempotency-key-reused', 'This Idempotency-Key was used for another request.')

const inProgress = () =>
  new AppError('request-in-progress', 'The first request with this Idempotency-Key has not been answered yet.', {
    headers: { 'retry-after': String(retryAfterSeconds) },
  })
