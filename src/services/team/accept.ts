import { sql, type Transaction } from 'kysely'
import type { Runtime, ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import { acrossWorkspaces } from '../../db/scope.ts'
import { AppError } from '../../lib/errors.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { recordAudit, type AuditContext } from '../audit/record.ts'
import { callerCacheOf } from '../identity/caller-cache.ts'
import { byInvitation } from '../identity/invited-issuer.ts'
import { issuersOf } from '../identity/issuers.ts'
import { formatKey, hashKey, keyPrefix } from '../identity/key-format.ts'
import { claimRoom } from '../workspaces/limits.ts'

export interface Joined {
  workspace: { id: string; slug: string; name: string }
  role: string
}

/** Accepts as the user who is signed in, whose address the invitation must be for. */
export async function joinByInvitation(ctx: ServiceContext, token: string): Promise<Joined> {
  const { actor } = ctx
  const joined = await acrossWorkspaces(ctx.db, (db) =>
    db.transaction().execute(async (tx) => {
      const user =
        actor.kind === 'user'
          ? await tx.selectFrom('users').select(['email', 'issuer']).where('id', '=', actor.id).executeTakeFirst()
          : undefined
      if (!user || user.issuer === byInvitation) {
        throw new AppError(
          'forbidden',
          'This takes a user who signs in with a token: POST /api/invitations/accept gives a key.',
        )
      }
      return accept(tx, ctx, { token, email: user.email, userId: actor.id })
    }),
  )
  callerCacheOf(ctx).forget(actor.id)
  return joined
}

/**
 * Accepts where there is no identity provider: whoever has the token and knows the address that it is for becomes a person with
 * a key of their own, which holds what their role gives and nothing elsewhere.
 */
export async function redeemInvitation(
  runtime: Runtime & Pick<AuditContext, 'requestId' | 'client'>,
  input: { token: string; email: string; name?: string | undefined },
): Promise<Joined & { user_id: string; api_key_id: string; key: string }> {
  if (issuersOf(runtime.config).length > 0) {
    throw new AppError('forbidden', 'Sign in at the identity provider and accept with POST /api/invitations/join.')
  }
  const userId = uuidv7()
  const keyId = uuidv7()
  const key = formatKey('server', runtime.random(32))
  const email = input.email.toLowerCase()
  const joined = await runtime.db.transaction().execute((tx) =>
    accept(tx, runtime, { token: input.token, email, userId }, async (workspaceId) => {
      await tx
        .insertInto('users')
        .values({
          id: userId,
          issuer: byInvitation,
          subject: userId,
          email,
          name: input.name ?? null,
          claims_issued_at: sql<Date>`app_now()`,
        })
        .execute()
      await tx
        .insertInto('api_keys')
        .values({
          id: keyId,
          workspace_id: workspaceId,
          name: `Key of ${input.name ?? email}`.slice(0, 200),
          kind: 'server',
          prefix: keyPrefix(key),
          hash: await hashKey(key),
          // It holds what the role of its user gives, whatever that is at the time.
          scopes: jsonb([]),
          created_by: `user:${userId}`,
          user_id: userId,
        })
        .execute()
    }),
  )
  return { ...joined, user_id: userId, api_key_id: keyId, key }
}

/** Of any number at once one gets in. Each way not to is told in the same words. */
async function accept(
  tx: Transaction<Database>,
  context: Pick<AuditContext, 'requestId' | 'client'>,
  { token, email, userId }: { token: string; email: string | null; userId: string },
  prepare: (workspaceId: string) => Promise<void> = async () => {},
): Promise<Joined> {
  const hash = await hashKey(token)
  const found = await tx
    .selectFrom('invitations')
    .select('workspace_id')
    .where('token_hash', '=', hash)
    .executeTakeFirst()
  if (!found || email === null) throw refused()
  // The workspace before its invitation, as whoever changes a team locks them.
  const workspace = await tx
    .selectFrom('workspaces')
    .select(['id', 'slug', 'name'])
    .where('id', '=', found.workspace_id)
    .where('deleted_at', 'is', null)
    .forNoKeyUpdate()
    .executeTakeFirst()
  if (!workspace) throw refused()
  const spent = await tx
    .updateTable('invitations')
    .set({ accepted_at: sql<Date>`app_now()`, accepted_by: userId })
    .where('token_hash', '=', hash)
    .where('email', '=', email.toLowerCase())
    .where('accepted_at', 'is', null)
    .where('revoked_at', 'is', null)
    .where('expires_at', '>', sql<Date>`app_now()`)
    .returning(['id', 'role'])
    .executeTakeFirst()
  if (!spent) throw refused()
  const { role } = spent
  await prepare(workspace.id)
  const made = await tx
    .insertInto('memberships')
    .values({ workspace_id: workspace.id, user_id: userId, role })
    .onConflict((conflict) => conflict.doNothing())
    .returning('role')
    .executeTakeFirst()
  if (!made) throw new AppError('conflict', 'You are a member of that workspace already.')
  await claimRoom(tx, workspace.id, 'members', 0)
  const actor = { kind: 'user', id: userId, workspaceId: workspace.id, permissions: new Set<never>() } as const
  await recordAudit(
    tx,
    { ...context, actor },
    { action: 'invitation.accepted', target: { type: 'invitation', id: spent.id }, after: { user_id: userId, role } },
  )
  return { workspace, role }
}

const refused = () =>
  new AppError(
    'not-found',
    'There is no such invitation: it is unknown, was used, revoked or has expired, or is for another address.',
  )
