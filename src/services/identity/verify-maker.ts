import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { permissionsOf } from '../../lib/permissions.ts'
import { cacheMs, callerCacheOf } from './caller-cache.ts'
import type { Caller } from './caller.ts'
import { isRevoked } from './sessions.ts'
import { keyOfSession, verifyApiKeyId } from './verify-key.ts'

export interface Maker {
  kind: 'key' | 'user'
  id: string
  workspaceId: string
  madeAt: Date
  /** The session that it ends with, where it shall. */
  sessionId?: string | undefined
  /** Of a key: the text that it ends with, where it shall. */
  keyHash?: string | undefined
}

/**
 * Who signed something, as they are now: a key that is neither revoked nor expired, a user who is still a member and whose
 * session has not been ended. Throws `unauthenticated`. Remembered as long as any verified caller.
 */
export async function verifyMaker(runtime: Runtime, maker: Maker): Promise<Caller> {
  const keyId = maker.kind === 'key' ? maker.id : keyOfSession(maker.sessionId ?? '')
  if (keyId === null) return verifyMember(runtime, maker)
  const caller = await verifyApiKeyId(runtime, keyId, maker.keyHash)
  if (caller.actor.workspaceId !== maker.workspaceId || caller.actor.id !== maker.id) throw refused()
  return caller
}

async function verifyMember(runtime: Runtime, { id, workspaceId, madeAt, sessionId }: Maker): Promise<Caller> {
  const cache = callerCacheOf(runtime)
  // No credential begins with a space, so none that is sent can name this entry.
  const credential = ` member ${id} ${workspaceId} ${madeAt.getTime()} ${sessionId}`
  const startedMs = runtime.clock.monotonicMs()
  const known = cache.get(credential, startedMs)
  if (known) return known
  const generation = cache.generation()
  const row = await runtime.db
    .selectFrom('memberships as m')
    .innerJoin('users as u', 'u.id', 'm.user_id')
    .innerJoin('workspaces as w', 'w.id', 'm.workspace_id')
    .leftJoin('roles as r', (join) => join.onRef('r.workspace_id', '=', 'w.id').onRef('r.slug', '=', 'm.role'))
    .select(['m.role', 'u.tokens_valid_after', 'w.slug', 'w.is_operator', 'r.permissions as custom'])
    .select([sql<boolean>`w.deleted_at is not null`.as('is_deleted'), isRevoked(sessionId).as('is_revoked')])
    .where('m.user_id', '=', id)
    .where('m.workspace_id', '=', workspaceId)
    .executeTakeFirst()
  if (!row || row.is_revoked || (row.tokens_valid_after && row.tokens_valid_after > madeAt)) throw refused()
  const permissions = new Set(
    permissionsOf(row.role, { isOperator: row.is_operator, isDeleted: row.is_deleted, custom: row.custom }),
  )
  const caller: Caller = {
    kind: 'user',
    id,
    actor: { kind: 'user', id, workspaceId, permissions, ...(sessionId !== undefined && { sessionId }) },
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
