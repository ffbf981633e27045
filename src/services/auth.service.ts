import { sql } from 'kysely'
import type { ServiceContext } from '../context.ts'
import { AppError } from '../lib/errors.ts'
import { permissions, type Permission, type Role } from '../lib/permissions.ts'
import { callerCacheOf } from './identity/caller-cache.ts'
import type { KeyKind } from './identity/key-format.ts'

export interface Identity {
  kind: 'key' | 'user'
  user: { id: string; email: string | null; name: string | null; created_at: string } | null
  api_key: { id: string; name: string; kind: KeyKind; prefix: string; expires_at: string | null } | null
  workspace: { id: string; slug: string; name: string }
  role: Role | null
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
  return { ...found, workspace, permissions: permissions.filter((permission) => actor.permissions.has(permission)) }
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

/**
 * Refuses every token that was issued to the user before now: in this process before it returns, elsewhere within the
 * seconds for which a verified caller is remembered.
 */
export async function signOutEverywhere(ctx: ServiceContext): Promise<{ tokens_valid_after: string }> {
  const { db, actor } = ctx
  if (actor.kind !== 'user') {
    throw new AppError('forbidden', 'An API key is not signed in. Revoke it with DELETE /api/api-keys/{api_key}.')
  }
  const row = await db
    .updateTable('users')
    .set({ tokens_valid_after: sql<Date>`greatest(tokens_valid_after, app_now())` })
    .where('id', '=', actor.id)
    .returning('tokens_valid_after')
    .executeTakeFirstOrThrow()
  callerCacheOf(ctx).forget(actor.id)
  return { tokens_valid_after: row.tokens_valid_after!.toISOString() }
}
