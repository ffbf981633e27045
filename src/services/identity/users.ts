import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import type { Role } from '../../lib/permissions.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import { insertWorkspace } from './insert-workspace.ts'
import { invalidToken, type TokenClaims } from './verify-token.ts'

/** A user, and the workspace that the request names as far as the user is a member there. */
export interface FoundUser {
  id: string
  email: string | null
  name: string | null
  /** Whether the token was issued before the user signed out everywhere. */
  signedOut: boolean
  member: { workspaceId: string; slug: string; role: Role } | null
}

/** The bearer of a token; a new one gets a user and a personal workspace. `workspace` is an id or a slug; null = the personal one. */
export async function findOrCreateUser(
  runtime: Runtime,
  claims: TokenClaims,
  workspace: string | null,
): Promise<FoundUser> {
  const known = await findUser(runtime, claims, workspace)
  if (known) return known
  if (runtime.config.authSignUp === 'members') throw invalidToken()
  await createUser(runtime, claims)
  const created = await findUser(runtime, claims, workspace)
  if (!created) throw new Error('A user that was just created is gone.')
  return created
}

async function findUser(
  { db }: Pick<Runtime, 'db'>,
  { issuer, subject, issuedAtS }: TokenClaims,
  workspace: string | null,
): Promise<FoundUser | undefined> {
  const row = await db
    .selectFrom('users')
    .leftJoin(
      (join) =>
        join
          .selectFrom('memberships')
          .innerJoin('workspaces', 'workspaces.id', 'memberships.workspace_id')
          .select(['memberships.user_id', 'memberships.role', 'workspaces.id as workspace_id', 'workspaces.slug'])
          .as('member'),
      (join) => join.onRef('member.user_id', '=', 'users.id').on(isWanted(workspace)),
    )
    .where('users.issuer', '=', issuer)
    .where('users.subject', '=', subject)
    .select(['users.id', 'users.email', 'users.name', 'member.role', 'member.workspace_id', 'member.slug'])
    .select(sql<boolean>`coalesce(to_timestamp(${issuedAtS}::float8) < tokens_valid_after, false)`.as('signed_out'))
    .executeTakeFirst()
  if (!row) return undefined
  const { id, email, name, role, workspace_id: workspaceId, slug } = row
  const member = role && workspaceId && slug ? { workspaceId, slug, role } : null
  return { id, email, name, signedOut: row.signed_out, member }
}

function isWanted(workspace: string | null) {
  if (workspace === null) return sql<boolean>`member.workspace_id = users.personal_workspace_id`
  if (isUuid(workspace)) return sql<boolean>`member.workspace_id = ${workspace}::text::uuid`
  return sql<boolean>`member.slug = ${workspace}::text`
}

/** One transaction, whose first statement settles who creates: of any number at once the others wait, and then find it done. */
async function createUser(runtime: Runtime, claims: TokenClaims): Promise<void> {
  const userId = uuidv7()
  await runtime.db.transaction().execute(async (tx) => {
    const created = await tx
      .insertInto('users')
      .values({
        id: userId,
        issuer: claims.issuer,
        subject: claims.subject,
        email: claims.email ?? null,
        name: claims.name ?? null,
        claims_issued_at: sql<Date>`to_timestamp(${claims.issuedAtS}::float8)`,
      })
      .onConflict((conflict) => conflict.columns(['issuer', 'subject']).doNothing())
      .returning('id')
      .executeTakeFirst()
    if (!created) return
    const workspaceId = await insertWorkspace({ db: tx, random: runtime.random }, personalWorkspaceOf(claims))
    await tx.insertInto('memberships').values({ workspace_id: workspaceId, user_id: userId, role: 'owner' }).execute()
    await tx.updateTable('users').set({ personal_workspace_id: workspaceId }).where('id', '=', userId).execute()
  })
}

const personalWorkspaceOf = ({ name, email }: TokenClaims) => ({
  // A name may be longer than a workspace's.
  name: name?.slice(0, 200) ?? 'Personal',
  slugFrom: name ?? email?.split('@')[0] ?? '',
  fallback: 'personal',
})

/** Keeps what the newest token says. A claim that it does not hold stays as it is. */
export async function updateClaims({ db }: Pick<Runtime, 'db'>, userId: string, claims: TokenClaims): Promise<void> {
  const issuedAt = sql<Date>`to_timestamp(${claims.issuedAtS}::float8)`
  await db
    .updateTable('users')
    .set({
      ...(claims.email !== undefined && { email: claims.email }),
      ...(claims.name !== undefined && { name: claims.name }),
      claims_issued_at: issuedAt,
      updated_at: sql<Date>`app_now()`,
    })
    .where('id', '=', userId)
    .where('claims_issued_at', '<', issuedAt)
    .execute()
}

/** Whether the token brings a name or an address that differs from what is known; which is newer, the update finds out. */
export const isNews = (user: FoundUser, { email, name }: TokenClaims): boolean =>
  (email !== undefined && email !== user.email) || (name !== undefined && name !== user.name)
