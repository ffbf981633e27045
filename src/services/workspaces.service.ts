import { sql, type Transaction } from 'kysely'
import type { ServiceContext } from '../context.ts'
import type { Database } from '../db/database.ts'
import { jsonb } from '../db/json.ts'
import { newestFirst } from '../db/keyset.ts'
import { acrossWorkspaces } from '../db/scope.ts'
import { AppError } from '../lib/errors.ts'
import { requireMatch } from '../lib/etag.ts'
import { isUuid } from '../lib/ids.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { permissionsOf } from '../lib/permissions.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../lib/pagination.ts'
import { changesOf, recordAudit } from './audit/record.ts'
import { callerCacheOf } from './identity/caller-cache.ts'
import { insertWorkspace } from './identity/insert-workspace.ts'
import { byInvitation } from './identity/invited-issuer.ts'
import type { ModelChoice } from './models/types.ts'
import { lockCurrent } from './workspaces/current.ts'
import { applyRunLimit } from './workspaces/limits.ts'
import { toWorkspace, workspaceTag, type Workspace } from './workspaces/workspace.ts'

export { deleteWorkspace, restoreWorkspace } from './workspaces/delete-workspace.ts'
export { getCurrentLimits, limitKinds } from './workspaces/limits.ts'
export { getLimitsOf, getPlan, limitsTag, listPlans, planTag, putPlan, setLimitsOf } from './workspaces/plans.ts'
export { workspaceTag, type Workspace } from './workspaces/workspace.ts'

type Context = Pick<ServiceContext, 'db' | 'actor' | 'requestId' | 'client'>

/** A workspace in a list, with what the caller is there: just its name where that role may not read it. */
export type ListedWorkspace = Pick<Workspace, 'id' | 'slug' | 'name'> & Partial<Workspace> & { role: string | null }

// An identity provider where anybody may sign up is no way to fill the database.
const mostOwned = 100

/** A user becomes its owner. The slug is made, not chosen: a choice that is refused would tell what others have. */
export async function createWorkspace(
  ctx: Context & Pick<ServiceContext, 'random'>,
  input: { name: string },
): Promise<Workspace> {
  const { actor, random } = ctx
  const make = async (tx: Transaction<Database>) => {
    // Requests of one user take turns, so that they cannot go beyond the limit together.
    await requireSignedIn(tx, ctx)
    const { owned } = await tx
      .selectFrom('memberships')
      .select(({ fn }) => fn.countAll<string>().as('owned'))
      .where('user_id', '=', actor.id)
      .where('role', '=', 'owner')
      .executeTakeFirstOrThrow()
    if (Number(owned) >= mostOwned) {
      throw new AppError('conflict', `A user can own ${mostOwned} workspaces at most.`)
    }
    const id = await insertWorkspace(
      { db: tx, random },
      { name: input.name, slugFrom: input.name, fallback: 'workspace' },
    )
    await tx.insertInto('memberships').values({ workspace_id: id, user_id: actor.id, role: 'owner' }).execute()
    const row = await tx.selectFrom('workspaces').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
    await recordAudit(tx, ctx, {
      action: 'workspace.created',
      target: { type: 'workspace', id },
      after: { slug: row.slug, name: row.name },
      workspaceId: id,
    })
    return row
  }
  return toWorkspace(await acrossWorkspaces(ctx.db, (db) => db.transaction().execute(make)))
}

/** Holds the user until the commit. Whoever has a key alone, the person's own included, is bound to its workspace. */
async function requireSignedIn(tx: Transaction<Database>, { actor }: Context): Promise<void> {
  const user =
    actor.kind === 'user'
      ? await tx.selectFrom('users').select('issuer').where('id', '=', actor.id).forUpdate().executeTakeFirst()
      : undefined
  if (!user || user.issuer === byInvitation) {
    throw new AppError('forbidden', 'A key belongs to one workspace. This takes a user who signs in with a token.')
  }
}

/** Where the user acts from now on when a request names no workspace. */
export async function switchWorkspace(ctx: ServiceContext, idOrSlug: string): Promise<ListedWorkspace> {
  const workspace = toListed(await findVisible(ctx, idOrSlug))
  await acrossWorkspaces(ctx.db, (db) =>
    db.transaction().execute(async (tx) => {
      await requireSignedIn(tx, ctx)
      await tx.updateTable('users').set({ default_workspace_id: workspace.id }).where('id', '=', ctx.actor.id).execute()
    }),
  )
  callerCacheOf(ctx).forget(ctx.actor.id)
  return workspace
}

/** All of which a user is a member; the one of a key. */
export async function listWorkspaces(ctx: Context, page: PageRequest): Promise<Page<ListedWorkspace>> {
  const rows = await acrossWorkspaces(ctx.db, (db) =>
    newestFirst(visible({ ...ctx, db }), page, 'workspaces').execute(),
  )
  return toPage(rows, page.limit, byCreation, toListed)
}

/** By id or slug. One that the caller may not see, or not read, answers as one that does not exist. */
export async function getWorkspace(ctx: Context, idOrSlug: string): Promise<Workspace> {
  const row = await findVisible(ctx, idOrSlug)
  if (!isReadable(row)) throw unknown(idOrSlug)
  return toWorkspace(row)
}

async function findVisible(ctx: Context, idOrSlug: string) {
  const column = isUuid(idOrSlug) ? 'workspaces.id' : 'workspaces.slug'
  const row = await acrossWorkspaces(ctx.db, (db) =>
    visible({ ...ctx, db })
      .where(column, '=', idOrSlug)
      .executeTakeFirst(),
  )
  if (!row) throw unknown(idOrSlug)
  return row
}

const unknown = (idOrSlug: string) => new AppError('not-found', `The workspace ${idOrSlug} does not exist.`)

type VisibleRow = Awaited<ReturnType<typeof findVisible>>

/** What the caller holds where the request acts says nothing about the other workspaces of a user. */
const isReadable = ({ role, custom, is_operator: isOperator, deleted_at }: VisibleRow) =>
  role === null ||
  permissionsOf(role, { isOperator, isDeleted: deleted_at !== null, custom }).includes('workspaces:read')

function toListed(row: VisibleRow): ListedWorkspace {
  const { id, slug, name, role } = row
  return isReadable(row) ? { ...toWorkspace(row), role } : { id, slug, name, role }
}

/** The id of a key is no user's, so a key has no role anywhere. */
function visible({ db, actor }: Context) {
  return db
    .selectFrom('workspaces')
    .leftJoin('memberships', (join) =>
      join.onRef('memberships.workspace_id', '=', 'workspaces.id').on('memberships.user_id', '=', actor.id),
    )
    .leftJoin('roles', (join) =>
      join.onRef('roles.workspace_id', '=', 'workspaces.id').onRef('roles.slug', '=', 'memberships.role'),
    )
    .selectAll('workspaces')
    .select(['memberships.role', 'roles.permissions as custom'])
    .where((where) =>
      actor.kind === 'user'
        ? where('memberships.user_id', 'is not', null)
        : where('workspaces.id', '=', actor.workspaceId),
    )
}

export async function getCurrentWorkspace({ db, actor }: Context): Promise<Workspace> {
  const row = await db.selectFrom('workspaces').selectAll().where('id', '=', actor.workspaceId).executeTakeFirst()
  if (!row) throw new AppError('not-found', 'The workspace does not exist any more.')
  return toWorkspace(row)
}

/** `settings` is merged by key; null removes one. */
export async function updateCurrentWorkspace(
  ctx: Context,
  input: { name?: string; settings?: { model?: ModelChoice | null; concurrent_executions?: number | null } },
  ifMatch: string | null = null,
): Promise<Workspace> {
  const { actor } = ctx
  return ctx.db.transaction().execute(async (tx) => {
    const current = await lockCurrent(tx, ctx)
    const before = toWorkspace(current)
    requireMatch(ifMatch, workspaceTag(before))
    if (current.deleted_at) throw new AppError('conflict', 'The workspace is to be deleted. Restore it first.')
    const row = await tx
      .updateTable('workspaces')
      .set({
        ...(input.name === undefined ? {} : { name: input.name }),
        settings: jsonb(merge(current.settings, input.settings ?? {})),
        updated_at: sql<Date>`app_now()`,
      })
      .where('id', '=', actor.workspaceId)
      .returningAll()
      .executeTakeFirstOrThrow()
    if (input.settings?.concurrent_executions !== undefined) await applyRunLimit(tx, actor.workspaceId)
    const after = toWorkspace(row)
    const target = { type: 'workspace', id: after.id }
    await recordAudit(tx, ctx, { action: 'workspace.updated', target, ...changesOf(before, after) })
    return after
  })
}

function merge(settings: JsonObject, changes: object): JsonObject {
  const merged = { ...settings, ...(changes as Record<string, Json | undefined>) }
  return Object.fromEntries(Object.entries(merged).filter((entry): entry is [string, Json] => entry[1] != null))
}
