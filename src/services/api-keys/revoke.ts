import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { requireMatch } from '../../lib/etag.ts'
import { requirePermission } from '../../lib/require-permission.ts'
import { recordAudit } from '../audit/record.ts'
import { callerCacheOf } from '../identity/caller-cache.ts'
import { revokeInvitationsBy } from '../team/invitations.ts'
import { apiKeyTag, lockApiKey, requireReachable, toApiKey } from './api-key.ts'

/**
 * Takes effect in this process before it returns, and in every other that listens with the commit itself. Revoking twice keeps
 * the first time. `withMade`: the keys that it has made too, and those that they have made. Whom a key has invited that is
 * revoked is invited no more: by accepting, whoever has such a key would stay.
 */
export async function revokeApiKey(
  ctx: ServiceContext,
  id: string,
  { ifMatch = null, withMade = false }: { ifMatch?: string | null; withMade?: boolean } = {},
): Promise<void> {
  const revoked = await ctx.db.transaction().execute(async (tx) => {
    const { row } = await lockApiKey(tx, ctx, id, { own: true })
    requireMatch(ifMatch, apiKeyTag(toApiKey(row)))
    await requireReachable(tx, ctx.actor, row)
    // What it has made is not its person's own.
    if (withMade) requirePermission(ctx, 'api-keys:manage')
    const { rows } = await sql<{ id: string; ends: boolean }>`
      with recursive made (id) as (
        select ${row.id}::text::uuid
        union
        select k.id from api_keys k join made m on k.created_by = 'key:' || m.id
        where ${withMade} and k.workspace_id = ${row.workspace_id}
      ), ended as (
        update api_keys k set revoked_at = app_now() from made
        where k.workspace_id = ${row.workspace_id} and k.id = made.id and k.revoked_at is null
        returning k.id
      )
      select id, id in (select id from ended) as ends from made`.execute(tx)
    const makers = rows.map(({ id: each }) => `key:${each}`)
    // A person with a key has no other way in.
    if (row.user_id !== null) makers.push(`user:${row.user_id}`)
    await revokeInvitationsBy(tx, row.workspace_id, makers)
    const ended = rows.filter(({ ends }) => ends)
    for (const { id: each } of ended) {
      await recordAudit(tx, ctx, { action: 'api_key.revoked', target: { type: 'api_key', id: each } })
    }
    return ended
  })
  for (const each of revoked) callerCacheOf(ctx).forget(each.id)
}
