import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import { permissionsOf, type Permission } from '../../lib/permissions.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import { insertWorkspace } from './insert-workspace.ts'
import { isRevoked } from './sessions.ts'
import { invalidToken, type TokenClaims } from './verify-token.ts'

/** A user, and the workspace that the request names as far as the user is a member there. */
export interface FoundUser {
  id: string
  email: string | null
  name: string | null
  /** Whether the token was issued before the user signed out everywhere, or its session was ended. */
  signedOut: boolean
  member: Member | null
}

export interface Member {
  workspaceId: string
  slug: string
  /** Built in, or one of the workspace's. */
  role: string
  /** What the role gives there. */
  permissions: Permission[]
}

/**
 * The bearer of a token; a new one gets a user and a personal workspace. `workspace` is an id or a slug; null = the one that the
 * user has chosen, else the personal one, else any other of theirs. Whoever has none left gets a new one.
 */
export async function findOrCreateUser(
  runtime: Runtime,
  claims: TokenClaims,
  workspace: string | null,
): Promise<FoundUser> {
  const known = await findUser(runtime, claims, workspace)
  if (known && (known.member !== null || workspace !== null || known.signedOut)) return known
  if (runtime.config.authSignUp === 'members' && !(await isInvited(runtime, claims))) {
    if (known) return known
    throw invalidToken()
  }
  await provision(runtime, claims)
  const created = await findUser(runtime, claims, workspace)
  if (!created) throw new Error('A user that was just created is gone.')
  return created
}

interface UserRow {
  id: string
  email: string | null
  name: string | null
  signed_out: boolean
  workspace_id: string | null
  slug: string
  role: string
  custom: string[] | null
  is_operator: boolean
  is_deleted: boolean
}

async function findUser(
  { db }: Pick<Runtime, 'db'>,
  { issuer, subject, issuedAtS, sessionId }: TokenClaims,
  workspace: string | null,
): Promise<FoundUser | undefined> {
  const { rows } = await sql<UserRow>`
    select u.id, u.email, u.name, m.*,
      coalesce(to_timestamp(${issuedAtS}::float8) < u.tokens_valid_after, false) or ${isRevoked(sessionId)} as signed_out
    from users u left join lateral (
      select w.id as workspace_id, w.slug, m.role, r.permissions as custom, w.is_operator,
        w.deleted_at is not null as is_deleted
      from memberships m
      join workspaces w on w.id = m.workspace_id
      left join roles r on r.workspace_id = m.workspace_id and r.slug = m.role
      where m.user_id = u.id ${isWanted(workspace)}
      order by w.deleted_at is not null, w.id = u.default_workspace_id desc nulls last,
        w.id = u.personal_workspace_id desc nulls last, m.created_at, w.id
      limit 1
    ) m on true
    where u.issuer = ${issuer}::text and u.subject = ${subject}::text`.execute(db)
  const row = rows[0]
  if (!row) return undefined
  const { id, email, name, workspace_id: workspaceId, slug, role, custom } = row
  const state = { isOperator: row.is_operator, isDeleted: row.is_deleted, custom }
  const member = workspaceId === null ? null : { workspaceId, slug, role, permissions: permissionsOf(role, state) }
  return { id, email, name, signedOut: row.signed_out, member }
}

function isWanted(workspace: string | null) {
  if (workspace === null) return sql``
  if (isUuid(workspace)) return sql`and w.id = ${workspace}::text::uuid`
  return sql`and w.slug = ${workspace}::text`
}

/** Where only members come in, whoever a workspace waits for does as well: an invitation is accepted by a user. */
async function isInvited({ db }: Pick<Runtime, 'db'>, { email }: TokenClaims): Promise<boolean> {
  if (email === undefined) return false
  const row = await db
    .selectFrom('invitations')
    .select('id')
    .where('email', '=', email.toLowerCase())
    .where('accepted_at', 'is', null)
    .where('revoked_at', 'is', null)
    .where('expires_at', '>', sql<Date>`app_now()`)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}

/** One transaction, which settles who creates: of any number at once the others wait, and then find it done. */
async function provision(runtime: Runtime, claims: TokenClaims): Promise<void> {
  const { issuer, subject } = claims
  await runtime.db.transaction().execute(async (tx) => {
    await tx
      .insertInto('users')
      .values({
        id: uuidv7(),
        issuer,
        subject,
        email: claims.email ?? null,
        name: claims.name ?? null,
        claims_issued_at: sql<Date>`to_timestamp(${claims.issuedAtS}::float8)`,
      })
      .onConflict((conflict) => conflict.columns(['issuer', 'subject']).doNothing())
      .execute()
    const { id: userId } = await tx
      .selectFrom('users')
      .select('id')
      .where('issuer', '=', issuer)
      .where('subject', '=', subject)
      .forUpdate()
      .executeTakeFirstOrThrow()
    const home = await tx.selectFrom('memberships').select('role').where('user_id', '=', userId).executeTakeFirst()
    if (home) return
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
