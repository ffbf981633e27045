import { sql } from 'kysely'
import type { Runtime, ServiceContext } from '../context.ts'
import { jsonb } from '../db/json.ts'
import { newestFirst } from '../db/keyset.ts'
import { AppError } from '../lib/errors.ts'
import { uuidv7 } from '../lib/ids.ts'
import type { Json, JsonObject } from '../lib/json.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../lib/pagination.ts'
import type { ModelChoice } from './models/types.ts'

export interface Workspace {
  id: string
  slug: string
  name: string
  settings: JsonObject
  created_at: string
  updated_at: string
}

type Context = Pick<ServiceContext, 'db' | 'actor'>

/** For seeds and tests: over HTTP nobody makes a workspace yet. */
export async function createWorkspace(
  { db }: Pick<Runtime, 'db'>,
  input: { slug: string; name: string },
): Promise<Workspace> {
  const row = await db
    .insertInto('workspaces')
    .values({ id: uuidv7(), slug: input.slug, name: input.name })
    .onConflict((conflict) => conflict.column('slug').doNothing())
    .returningAll()
    .executeTakeFirst()
  if (!row) throw new AppError('conflict', `The slug "${input.slug}" is taken.`)
  return toWorkspace(row)
}

/** The workspaces that the caller may see. A key belongs to one. */
export async function listWorkspaces({ db, actor }: Context, page: PageRequest): Promise<Page<Workspace>> {
  const query = db.selectFrom('workspaces').selectAll().where('id', '=', actor.workspaceId)
  const rows = await newestFirst(query, page).execute()
  return toPage(rows, page.limit, byCreation, toWorkspace)
}

export async function getCurrentWorkspace({ db, actor }: Context): Promise<Workspace> {
  const row = await db.selectFrom('workspaces').selectAll().where('id', '=', actor.workspaceId).executeTakeFirst()
  if (!row) throw new AppError('not-found', 'The workspace does not exist any more.')
  return toWorkspace(row)
}

/** `settings` is merged by key; null removes one. */
export async function updateCurrentWorkspace(
  { db, actor }: Context,
  input: { name?: string; settings?: { model?: ModelChoice | null } },
): Promise<Workspace> {
  const row = await db.transaction().execute(async (tx) => {
    const current = await tx
      .selectFrom('workspaces')
      .select('settings')
      .where('id', '=', actor.workspaceId)
      .forUpdate()
      .executeTakeFirst()
    if (!current) throw new AppError('not-found', 'The workspace does not exist any more.')
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

function merge(settings: JsonObject, changes: object): JsonObject {
  const merged = { ...settings, ...(changes as Record<string, Json | undefined>) }
  return Object.fromEntries(Object.entries(merged).filter((entry): entry is [string, Json] => entry[1] != null))
}

function toWorkspace(row: {
  id: string
  slug: string
  name: string
  settings: JsonObject
  created_at: Date
  updated_at: Date
}): Workspace {
  return { ...row, created_at: row.created_at.toISOString(), updated_at: row.updated_at.toISOString() }
}
