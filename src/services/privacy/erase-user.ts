import { sql, type Kysely, type Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { acrossWorkspaces } from '../../db/scope.ts'
import { AppError } from '../../lib/errors.ts'
import { entityTag, requireMatch } from '../../lib/etag.ts'
import { isUuid } from '../../lib/ids.ts'
import { recordAudit } from '../audit/record.ts'
import { callerCacheOf } from '../identity/caller-cache.ts'
import { stopWorkspace } from '../workspaces/delete-workspace.ts'

/** What is stored of a person beside what they wrote in their workspaces. */
export interface StoredPerson {
  id: string
  issuer: string
  subject: string
  email: string | null
  name: string | null
  created_at: string
  workspaces: {
    id: string
    slug: string
    role: string
    /** Nobody else is in it: it goes with the person. */
    is_only_member: boolean
    /** Others are in it and none of them owns it: it must be handed over first. */
    is_last_owner: boolean
  }[]
}

export const getPerson = (ctx: Pick<ServiceContext, 'db'>, id: string): Promise<StoredPerson> =>
  acrossWorkspaces(ctx.db, (db) => readPerson(db, id))

async function readPerson(db: Kysely<Database>, id: string): Promise<StoredPerson> {
  const user = isUuid(id)
    ? await db
        .selectFrom('users')
        .select(['id', 'issuer', 'subject', 'email', 'name', 'created_at'])
        .where('id', '=', id)
        .executeTakeFirst()
    : undefined
  if (!user) throw new AppError('not-found', `The user ${id.slice(0, 100)} does not exist.`)
  const { rows } = await sql<StoredPerson['workspaces'][number]>`
    select w.id, w.slug, m.role,
      not exists (select from memberships o where o.workspace_id = w.id and o.user_id <> m.user_id) as is_only_member,
      m.role = 'owner'
        and exists (select from memberships o where o.workspace_id = w.id and o.user_id <> m.user_id)
        and not exists (select from memberships o
          where o.workspace_id = w.id and o.user_id <> m.user_id and o.role = 'owner') as is_last_owner
    from memberships m join workspaces w on w.id = m.workspace_id
    where m.user_id = ${user.id} order by w.created_at, w.id`.execute(db)
  return { ...user, created_at: user.created_at.toISOString(), workspaces: rows }
}

export const personTag = (person: StoredPerson): string => entityTag(person)

/**
 * Forgets a person: the row, their memberships, personal keys and sessions, invitations to their address, their name on
 * decisions, and in every audit log the addresses they came from and the changes that name them; the hashes of those stay, so
 * the logs still verify. Their id remains, and stands for nobody. Workspaces of theirs alone are purged.
 */
export async function eraseUser(ctx: ServiceContext, id: string, ifMatch: string | null): Promise<void> {
  await acrossWorkspaces(ctx.db, (db) =>
    db.transaction().execute(async (tx) => {
      if (isUuid(id)) await holdStill(tx, id)
      const person = await readPerson(tx, id)
      requireMatch(ifMatch, personTag(person))
      const kept = person.workspaces.filter(({ is_last_owner }) => is_last_owner)
      if (kept.length > 0) {
        const names = kept.map(({ slug }) => slug).join(', ')
        throw new AppError('conflict', `Others work in ${names}, which nobody else owns: hand it over first.`)
      }
      await purgeOwn(tx, person)
      await forget(tx, person)
      // Memberships, personal keys and sessions go by the references to it.
      await tx.deleteFrom('users').where('id', '=', person.id).execute()
      const after = { workspaces: person.workspaces.length }
      await recordAudit(tx, ctx, { action: 'user.erased', target: { type: 'user', id: person.id }, after })
    }),
  )
  callerCacheOf(ctx).forget(id)
}

/** A step at a time, so that no statement runs into its time limit however many logs there are. */
async function forget(tx: Kysely<Database>, { id, email, name }: StoredPerson): Promise<void> {
  let behind: string | null = null
  do {
    const step: { rows: { behind: string | null }[] } = await sql<{ behind: string | null }>`
      select forget_person(${id}::text::uuid, ${email}::text, ${name}::text, ${behind}::text::uuid) as behind`.execute(
      tx,
    )
    behind = step.rows[0]!.behind
  } while (behind !== null)
}

/**
 * The workspaces of a person and then the person, until the commit: in the order in which whoever lets somebody in locks them.
 * Their teams do not change, and nobody lets the person into another.
 */
async function holdStill(tx: Transaction<Database>, id: string): Promise<void> {
  const teams = async () =>
    (await tx.selectFrom('memberships').select('workspace_id').where('user_id', '=', id).execute()).map(
      (membership) => membership.workspace_id,
    )
  const held = await teams()
  if (held.length > 0) {
    await tx.selectFrom('workspaces').select('id').where('id', 'in', held).orderBy('id').forNoKeyUpdate().execute()
  }
  await tx.selectFrom('users').select('id').where('id', '=', id).forUpdate().execute()
  if ((await teams()).some((workspaceId) => !held.includes(workspaceId))) {
    throw new AppError('conflict', 'The person has just come into another workspace. Read them anew.')
  }
}

async function purgeOwn(tx: Transaction<Database>, { workspaces }: StoredPerson): Promise<void> {
  const own = workspaces.filter(({ is_only_member }) => is_only_member).map(({ id }) => id)
  if (own.length === 0) return
  const purged = await tx
    .updateTable('workspaces')
    .set({ deleted_at: sql<Date>`coalesce(deleted_at, app_now())`, purge_after: sql<Date>`app_now()` })
    .where('id', 'in', own)
    // Without it nobody could operate the installation; keys work it as before.
    .where('is_operator', '=', false)
    .returning('id')
    .execute()
  for (const workspace of purged) await stopWorkspace(tx, workspace.id)
}
