import type { Runtime } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { rolePermissions } from '../../lib/permissions.ts'
import { cacheMs, callerCacheOf } from './caller-cache.ts'
import type { Caller } from './caller.ts'
import { verifyApiKeyId } from './verify-key.ts'

export interface Maker {
  kind: 'key' | 'user'
  id: string
  workspaceId: string
  madeAt: Date
}

/**
 * Who signed something, as they are now: a key that is neither revoked nor expired, a user who is still a member.
 * Throws `unauthenticated`. Remembered as long as any verified caller.
 */
export async function verifyMaker(runtime: Runtime, maker: Maker): Promise<Caller> {
  if (maker.kind === 'user') return verifyMember(runtime, maker)
  const caller = await verifyApiKeyId(runtime, maker.id)
  if (caller.actor.workspaceId !== maker.workspaceId) throw refused()
  return caller
}

async function verifyMember(runtime: Runtime, { id, workspaceId, madeAt }: Maker): Promise<Caller> {
  const cache = callerCacheOf(runtime)
  // No credential begins with a space, so none that is sent can name this entry.
  const credential = ` member ${id} ${workspaceId} ${madeAt.getTime()}`
  const startedMs = runtime.clock.monotonicMs()
  const known = cache.get(credential, startedMs)
  if (known) return known
  const generation = cache.generation()
  const row = await runtime.db
    .selectFrom('memberships as m')
    .innerJoin('users as u', 'u.id', 'm.user_id')
    .innerJoin('workspaces as w', 'w.id', 'm.workspace_id')
    .select(['m.role', 'u.tokens_valid_after', 'w.slug'])
    .where('m.user_id', '=', id)
    .where('m.workspace_id', '=', workspaceId)
    .executeTakeFirst()
  if (!row || (row.tokens_valid_after && row.tokens_valid_after > madeAt)) throw refused()
  const caller: Caller = {
    kind: 'user',
    id,
    actor: { kind: 'user', id, workspaceId, permissions: new Set(rolePermissions[row.role]) },
    workspaceSlug: row.slug,
    budget: `user:${id}`,
    rateLimit: null,
    allowedDomains: [],
    allowsAddress: null,
  }
  cache.put(credential, caller, startedMs + cacheMs, generation)
  return caller
}

const refused = () => new AppError('unauthenticated', 'Whoever made this is not let in any more.')
