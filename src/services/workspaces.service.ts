import { sql, type Selectable } from 'kysely'
import type { ServiceContext } from '../context.ts'
import { jsonb } from '../db/json.ts'
import { newestFirst } from '../db/keyset.ts'
import type { WorkspacesTable } from '../db/tables/identity.table.ts'
import { AppError } from '../lib/errors.ts'
import { entityTag, requireMatch } from '../lib/etag.ts'
import { isUuid } from '../lib/ids.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../lib/pagination.ts'
import type { Role } from '../lib/permissions.ts'
import { insertWorkspace } from './identity/insert-workspace.ts'
import type { ModelChoice } from './models/types.ts'
import { limitWorkspace } from './runs/concurrency/limit-workspace.ts'

export interface Workspace {
  id: string
  slug: string
  name: string
  settings: JsonObject
  created_at: string
  updated_at: string
}

type Context = Pick<ServiceContext, 'db' | 'actor'>

/** A workspace in a list, with what the caller is there. */
export type ListedWorkspace = Workspace & { role: Role | null }

// An identity provider where anybody may sign up is no way to fill the database.
const mostOwned = 100

/** A user becomes its owner. The slug is made, not chosen: a choice that is refused would tell what others have. */
export async function createWorkspace(
  { db, actor, random }: Context & Pick<ServiceContext, 'random'>,
  input: { name: string },
): Promise<Workspace> {
  if (actor.kind !== 'user') {
    throw new AppError('forbidden', 'A key belongs to one workspace. Only a user who is signed in can make another.')
  }
  const row = await db.transaction().execute(async (tx) => {
    // Requests of one user take turns, so that they cannot go beyond the limit together.
    await tx.selectFrom('users').select('id').where('id', '=', actor.id).forUpdate().execute()
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
    return tx.selectFrom('workspaces').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
  })
  return toWorkspace(row)
}

/** All of which a user is a member; the one of a key. */
export async function listWorkspaces(ctx: Context, page: PageRequest): Promise<Page<ListedWorkspace>> {
  const rows = await newestFirst(visible(ctx), page, 'workspaces').execute()
  return toPage(rows, page.limit, byCreation, (row) => ({ ...toWorkspace(row), role: row.role }))
}

/** By id or slug. One that the caller may not see answers as one that does not exist. */
export async function getWorkspace(ctx: Context, idOrSlug: string): Promise<Workspace> {
  const column = isUuid(idOrSlug) ? 'workspaces.id' : 'workspaces.slug'
  const row = await visible(ctx).where(column, '=', idOrSlug).executeTakeFirst()
  if (!row) throw new AppError('not-found', `The workspace ${idOrSlug} does not exist.`)
  return toWorkspace(row)
}

/** The id of a key is no user's, so a key has no role anywhere. */
function visible({ db, actor }: Context) {
  return db
    .selectFrom('workspaces')
    .leftJoin('memberships', (join) =>
      join.onRef('memberships.workspace_id', '=', 'workspaces.id').on('memberships.user_id', '=', actor.id),
    )
    .selectAll('workspaces')
    .select('memberships.role')
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
  { db, actor }: Context,
  input: { name?: string; settings?: { model?: ModelChoice | null; concurrent_executions?: number | null } },
  ifMatch: string | null = null,
): Promise<Workspace> {
  const row = await db.transaction().execute(async (tx) => {
    const current = await tx
      .selectFrom('workspaces')
      .selectAll()
      .where('id', '=', actor.workspaceId)
      // No key changes. Whoever holds a run and names its workspace in another row goes on, and so do those behind it.
      .forNoKeyUpdate()
      .executeTakeFirst()
    if (!current) throw new AppError('not-found', 'The workspace does not exist any more.')
    requireMatch(ifMatch, workspaceTag(toWorkspace(current)))
    const limit = input.settings?.concurrent_executions
    if (limit !== undefined) await limitWorkspace(tx, actor.workspaceId, limit)
    return tx
      .updateTable('workspaces')
      .set({
        ...(input.name === undefined ? {} : { name: input.name }),
        settings: jsonb(merge(current.settings, input.settings ?? {})),
        updated_at: sql<Date>`app_now()`,
      })
      .where('id', '=', actor.workspaceId)
      .returningAll()
      .executeTakeFirstOrThrow()
  })
  return toWorkspace(row)
}

/** Whole, because there is little of it: two changes within a millisecond differ in what they changed. */
export const workspaceTag = (workspace: Workspace): string => entityTag(workspace)

function merge(settings: JsonObject, changes: object): JsonObject {
  const merged = { ...settings, ...(changes as Record<string, Json | undefined>) }
  return Object.fromEntries(Object.entries(merged).filter((entry): entry is [string, Json] => entry[1] != null))
}

function toWorkspace({ id, slug, name, settings, created_at, updated_at }: Selectable<WorkspacesTable>): Workspace {
  return { id, slug, name, settings, created_at: created_at.toISOString(), updated_at: updated_at.toISOString() }
}
