import { sql } from 'kysely'
import type { ServiceContext } from '../context.ts'
import { acrossWorkspaces } from '../db/scope.ts'
import { AppError } from '../lib/errors.ts'
import { permissions, type Permission } from '../lib/permissions.ts'
import { recordAudit } from './audit/record.ts'
import { callerCacheOf } from './identity/caller-cache.ts'
import type { KeyKind } from './identity/key-format.ts'
import { keyOfSession } from './identity/verify-key.ts'

export interface Identity {
  kind: 'key' | 'user'
  user: { id: string; email: string | null; name: string | null; created_at: string } | null
  api_key: { id: string; name: string; kind: KeyKind; prefix: string; expires_at: string | null } | null
  /** The session of the token at the identity provider, where it names one. */
  session_id: string | null
  workspace: { id: string; slug: string; name: string }
  role: string | null
  permissions: Permission[]
}

type Context = Pick<ServiceContext, 'db' | 'actor'>

/** Who calls, as the rows say now. A caller that has vanished within the seconds for which it is remembered is `unauthenticated`. */
export async function getIdentity({ db, actor }: Context): Promise<Identity> {
  const workspace = await db
    .selectFrom('workspaces')
    .select(['id', 'slug', 'name'])
    .where('id', '=', actor.workspaceId)
    .executeTakeFirst()
  const found = actor.kind === 'user' ? await findUser({ db, actor }) : await findKey({ db, actor })
  if (!workspace || !found) throw new AppError('unauthenticated', 'Who called does not exist any more.')
  const session_id = sessionOf({ actor })
  return {
    ...found,
    session_id,
    workspace,
    permissions: permissions.filter((permission) => actor.permissions.has(permission)),
  }
}

async function findUser({ db, actor }: Context) {
  const row = await db
    .selectFrom('users')
    .innerJoin('memberships', 'memberships.user_id', 'users.id')
    .select(['users.id', 'email', 'name', 'users.created_at', 'role'])
    .where('users.id', '=', actor.id)
    .where('workspace_id', '=', actor.workspaceId)
    .executeTakeFirst()
  if (!row) return null
  const { role, created_at, ...user } = row
  return { kind: 'user' as const, user: { ...user, created_at: created_at.toISOString() }, api_key: null, role }
}

async function findKey({ db, actor }: Context) {
  const row = await db
    .selectFrom('api_keys')
    .select(['id', 'name', 'kind', 'prefix', 'expires_at'])
    .where('id', '=', actor.id)
    .where('workspace_id', '=', actor.workspaceId)
    .executeTakeFirst()
  if (!row) return null
  const api_key = { ...row, expires_at: row.expires_at?.toISOString() ?? null }
  return { kind: 'key' as const, user: null, api_key, role: null }
}

/** Refuses every token that was issued to the user before now, in every process that listens. */
export async function signOutEverywhere(ctx: ServiceContext): Promise<{ tokens_valid_after: string }> {
  const userId = requireUser(ctx)
  const row = await ctx.db.transaction().execute(async (tx) => {
    const updated = await acrossWorkspaces(tx, (all) =>
      all
        .updateTable('users')
        .set({ tokens_valid_after: sql<Date>`greatest(tokens_valid_after, app_now())` })
        .where('id', '=', userId)
        .returning('tokens_valid_after')
        .executeTakeFirstOrThrow(),
    )
    await recordAudit(tx, ctx, { action: 'user.signed_out_everywhere', target: { type: 'user', id: userId } })
    return updated
  })
  callerCacheOf(ctx).forget(userId)
  return { tokens_valid_after: row.tokens_valid_after!.toISOString() }
}

/** Of one user. A session that was ended so many sessions ago has long ended at the identity provider as well. */
const mostRevoked = 1_000

/**
 * Refuses the tokens of one session of the user, those that the identity provider issues for it from now on included. Without
 * an id the one of this request.
 */
export async function signOut(
  ctx: ServiceContext,
  given: string | undefined,
): Promise<{ session_id: string; revoked_at: string }> {
  const userId = requireUser(ctx)
  const sid = given ?? sessionOf(ctx)
  if (sid === null) {
    const detail = 'is required: the token of this request names no session'
    throw new AppError('invalid', `session_id ${detail}.`, { errors: [{ pointer: '/session_id', detail }] })
  }
  const revokedAt = await ctx.db.transaction().execute(async (tx) => {
    const revoked = await acrossWorkspaces(tx, async (all) => {
      await all
        .insertInto('revoked_sessions')
        .values({ user_id: userId, sid })
        .onConflict((conflict) => conflict.columns(['user_id', 'sid']).doNothing())
        .execute()
      await sql`
        delete from revoked_sessions where user_id = ${userId} and sid in (
          select sid from revoked_sessions where user_id = ${userId} order by revoked_at desc, sid offset ${mostRevoked}
        )`.execute(all)
      return all
        .selectFrom('revoked_sessions')
        .select('revoked_at')
        .where('user_id', '=', userId)
        .where('sid', '=', sid)
        .executeTakeFirstOrThrow()
    })
    await recordAudit(tx, ctx, { action: 'session.revoked', target: { type: 'session', id: sid } })
    return revoked.revoked_at
  })
  callerCacheOf(ctx).forget(userId)
  return { session_id: sid, revoked_at: revokedAt.toISOString() }
}

function requireUser({ actor }: Context): string {
  if (actor.kind === 'user') return actor.id
  throw new AppError('forbidden', 'An API key is not signed in. Revoke it with DELETE /api/api-keys/{api_key}.')
}

/** Null where the user acts by a key, or by a token that names none. */
const sessionOf = ({ actor: { sessionId } }: Pick<Context, 'actor'>): string | null =>
  sessionId === undefined || keyOfSession(sessionId) !== null ? null : sessionId
