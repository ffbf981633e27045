import type { ServiceContext } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import { requireMatch } from '../../lib/etag.ts'
import { changesOf, recordAudit } from '../audit/record.ts'
import { callerCacheOf } from '../identity/caller-cache.ts'
import {
  apiKeyTag,
  lockApiKey,
  readLimits,
  requireReachable,
  requireUsable,
  toApiKey,
  type ApiKey,
  type KeyLimits,
} from './api-key.ts'
import { boundsOf, excessOf, requireWithin } from './bounds.ts'

/** What is undefined stays. Nobody widens a key beyond their own bounds; to narrow one takes no more than the permission. */
export async function updateApiKey(
  ctx: ServiceContext,
  id: string,
  input: KeyLimits & { name?: string | undefined },
  ifMatch: string | null = null,
): Promise<ApiKey> {
  const changed = await ctx.db.transaction().execute(async (tx) => {
    const { row } = await lockApiKey(tx, ctx, id)
    requireMatch(ifMatch, apiKeyTag(toApiKey(row)))
    await requireReachable(tx, ctx.actor, row)
    await requireUsable(tx, row)
    const limits = await readLimits(tx, row.kind, input)
    requireWithin(excessOf(limits, await boundsOf(tx, ctx), row))
    const set = {
      ...(input.name !== undefined && { name: input.name }),
      ...(limits.expiresAt !== undefined && { expires_at: limits.expiresAt }),
      ...(limits.rateLimit !== undefined && { rate_limit: limits.rateLimit }),
      ...(limits.allowedDomains !== undefined && { allowed_domains: jsonb(limits.allowedDomains) }),
      ...(limits.allowedIps !== undefined && { allowed_ips: jsonb(limits.allowedIps) }),
    }
    if (Object.keys(set).length === 0) return row
    const now = await tx
      .updateTable('api_keys')
      .set(set)
      .where('workspace_id', '=', row.workspace_id)
      .where('id', '=', row.id)
      .returningAll()
      .executeTakeFirstOrThrow()
    const target = { type: 'api_key', id: row.id }
    await recordAudit(tx, ctx, { action: 'api_key.changed', target, ...changesOf(toApiKey(row), toApiKey(now)) })
    return now
  })
  callerCacheOf(ctx).forget(changed.id)
  return toApiKey(changed)
}
