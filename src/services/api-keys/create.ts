import type { ServiceContext } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { Permission } from '../../lib/permissions.ts'
import { recordAudit } from '../audit/record.ts'
import { formatKey, hashKey, keyPrefix, type KeyKind } from '../identity/key-format.ts'
import { scopesFor } from '../identity/key-scopes.ts'
import { lockCurrent } from '../workspaces/current.ts'
import { claimRoom } from '../workspaces/limits.ts'
import { readLimits, toApiKey, type ApiKey, type KeyLimits } from './api-key.ts'
import { boundsOf, excessOf, keyOf, requireNoBudget, requireWithin, withDefaults } from './bounds.ts'

export interface NewApiKey extends KeyLimits {
  name: string
  kind: KeyKind
  /** Permissions, or the slug of a role. */
  scopes: readonly Permission[] | string
}

/** The answer holds the key itself, this once: only its hash is stored. */
export async function createApiKey(ctx: ServiceContext, input: NewApiKey): Promise<ApiKey & { key: string }> {
  const { actor } = ctx
  const key = formatKey(input.kind, ctx.random(32))
  const hash = await hashKey(key)
  const row = await ctx.db.transaction().execute(async (tx) => {
    // Before the key that asks, as whoever ends a key locks them.
    await lockCurrent(tx, ctx)
    const scopes = await scopesFor({ db: tx, actor }, input.kind, input.scopes)
    const read = await readLimits(tx, input.kind, input)
    const bounds = await boundsOf(tx, ctx, { locked: true })
    const limits = withDefaults(read, bounds)
    requireWithin(excessOf(limits, bounds))
    const maker = keyOf(actor)
    await requireNoBudget(tx, actor)
    await claimRoom(tx, actor.workspaceId, 'api_keys')
    const made = await tx
      .insertInto('api_keys')
      .values({
        id: uuidv7(),
        workspace_id: actor.workspaceId,
        name: input.name,
        kind: input.kind,
        prefix: keyPrefix(key),
        hash,
        scopes: jsonb(scopes),
        rate_limit: limits.rateLimit,
        allowed_domains: jsonb(limits.allowedDomains),
        allowed_ips: jsonb(limits.allowedIps),
        expires_at: limits.expiresAt,
        created_by: maker === null ? `${actor.kind}:${actor.id}` : `key:${maker}`,
      })
      .returningAll()
      .executeTakeFirstOrThrow()
    await recordAudit(tx, ctx, {
      action: 'api_key.created',
      target: { type: 'api_key', id: made.id },
      after: toApiKey(made),
    })
    return made
  })
  return { ...toApiKey(row), key }
}
