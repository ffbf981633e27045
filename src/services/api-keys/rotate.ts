import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { permissionsIn } from '../../lib/permissions.ts'
import { recordAudit } from '../audit/record.ts'
import { keyOfConfiguration } from '../identity/admin-key.ts'
import { callerCacheOf } from '../identity/caller-cache.ts'
import { formatKey, hashKey, keyPrefix } from '../identity/key-format.ts'
import { isOwn, lockApiKey, requireUsable, toApiKey, type ApiKey, type ApiKeyRow } from './api-key.ts'
import { boundsOf, excessOf, keyOf, requireNoBudget, requireWithin } from './bounds.ts'

export const longestOverlapS = 30 * 86_400

/**
 * Gives a key a new text under the same id; the old one stays good for the overlap. Whoever does it gets to know the key, so it
 * takes somebody who could make one as strong. A second rotation ends what the first has left.
 */
export async function rotateApiKey(
  ctx: ServiceContext,
  id: string,
  { overlapSeconds }: { overlapSeconds: number },
): Promise<ApiKey & { key: string }> {
  const { key, row } = await ctx.db.transaction().execute(async (tx) => {
    const { row, isOperator } = await lockApiKey(tx, ctx, id, { own: true })
    await requireRotatable({ ...ctx, db: tx }, row, isOperator)
    const key = formatKey(row.kind, ctx.random(32))
    const rotated = await tx
      .updateTable('api_keys')
      .set({
        prefix: keyPrefix(key),
        hash: await hashKey(key),
        previous_hash: row.hash,
        previous_valid_until: sql<Date>`app_now() + ${overlapSeconds}::integer * interval '1 second'`,
        rotated_at: sql<Date>`app_now()`,
      })
      .where('workspace_id', '=', row.workspace_id)
      .where('id', '=', row.id)
      .returningAll()
      .executeTakeFirstOrThrow()
    await recordAudit(tx, ctx, {
      action: 'api_key.rotated',
      target: { type: 'api_key', id: row.id },
      before: { prefix: row.prefix },
      after: { prefix: rotated.prefix, previous_valid_until: rotated.previous_valid_until?.toISOString() ?? null },
    })
    return { key, row: rotated }
  })
  callerCacheOf(ctx).forget(row.id)
  return { ...toApiKey(row), key }
}

async function requireRotatable(ctx: ServiceContext, row: ApiKeyRow, isOperator: boolean): Promise<void> {
  const { db, actor } = ctx
  if (row.created_by === keyOfConfiguration) {
    throw new AppError('conflict', 'This key is the one of ADMIN_API_KEY. Set a new one there and start again.')
  }
  await requireUsable(db, row)
  if (keyOf(actor) === row.id) return
  await requireNoBudget(db, actor)
  if (row.user_id !== null) {
    if (isOwn(actor, row)) return
    throw new AppError('forbidden', 'The key of a person can be rotated by that person alone.')
  }
  // By the workspace, not by what the actor holds: that would leave out the very rights that the actor lacks.
  const held = permissionsIn(row.scopes, { isOperator })
  const missing = held.filter((permission) => !actor.permissions.has(permission))
  if (missing.length > 0) {
    throw new AppError('forbidden', `This key holds more than who asks for it, who lacks ${missing.join(', ')}.`)
  }
  const limits = { expiresAt: row.expires_at, rateLimit: row.rate_limit, allowedIps: row.allowed_ips }
  requireWithin(excessOf(limits, await boundsOf(db, ctx)))
}
