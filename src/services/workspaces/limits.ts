import { sql, type Kysely, type RawBuilder, type Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import type { Limits } from '../../db/tables/team.table.ts'
import { AppError } from '../../lib/errors.ts'
import { limitWorkspace } from '../runs/concurrency/limit-workspace.ts'

/** What a plan limits. All but the last are asked for room when one more is made; the engine holds runs back by itself. */
export const limitKinds = [
  'agents',
  'recipes',
  'documents',
  'members',
  'api_keys',
  'storage_bytes',
  'concurrent_runs',
] as const
export type LimitKind = (typeof limitKinds)[number]
export type RoomKind = Exclude<LimitKind, 'concurrent_runs'>

/**
 * How much of each there is now. Who is invited has a seat, a workflow that is being planned will have a recipe; the key of a
 * person is that person's, not one of the workspace's.
 */
const measures: Record<LimitKind, (workspaceId: string) => RawBuilder<unknown>> = {
  agents: (id) => sql`(select count(*) from agents where workspace_id = ${id} and deleted_at is null)`,
  recipes: (id) => sql`((select count(*) from workflow_recipes where workspace_id = ${id} and deleted_at is null)
    + (select count(*) from workflows where workspace_id = ${id} and recipe_id is null and state = 'planning'))`,
  documents: (id) => sql`(select count(*) from files where workspace_id = ${id} and source = 'upload')`,
  members: (id) => sql`((select count(*) from memberships where workspace_id = ${id})
    + (select count(*) from invitations where workspace_id = ${id} and accepted_at is null and revoked_at is null
      and expires_at > app_now()))`,
  api_keys: (id) => sql`(select count(*) from api_keys where workspace_id = ${id} and user_id is null
    and revoked_at is null and (expires_at is null or expires_at > app_now()))`,
  storage_bytes: (id) => sql`(select coalesce(sum(size), 0) from files where workspace_id = ${id})`,
  concurrent_runs: (id) => sql`(select count(*) from runs where workspace_id = ${id} and state = 'running')`,
}

const nouns: Record<RoomKind, string> = {
  agents: 'agents',
  recipes: 'recipes',
  documents: 'uploaded files',
  members: 'members, invited ones included',
  api_keys: 'API keys',
  storage_bytes: 'bytes of files',
}

async function limitsOf(db: Kysely<Database>, workspaceId: string): Promise<Limits> {
  const { rows } = await sql<{ limits: Limits }>`
    select p.limits || w.limits as limits from workspaces w join plans p on p.slug = w.plan
    where w.id = ${workspaceId}`.execute(db)
  return rows[0]?.limits ?? {}
}

/**
 * Throws `limit-reached` where the plan of the workspace has no room for `by` more; 0 asks whether what is there fits. Call it
 * before the insert and in its transaction: whoever asks under a limit takes turns until the commit, so of any number at once
 * no more pass than there is room for. Without a limit nobody waits.
 */
export async function claimRoom(tx: Kysely<Database>, workspaceId: string, kind: RoomKind, by = 1): Promise<void> {
  const limit = (await limitsOf(tx, workspaceId))[kind]
  if (limit === undefined || limit === null) return
  await tx.selectFrom('workspaces').select('id').where('id', '=', workspaceId).forNoKeyUpdate().execute()
  const { rows } = await sql<{ used: number }>`select ${measures[kind](workspaceId)}::float8 as used`.execute(tx)
  const used = rows[0]!.used
  if (used + by <= limit) return
  throw new AppError('limit-reached', `The workspace has ${used} of the ${limit} ${nouns[kind]} that its plan allows.`)
}

export interface WorkspaceLimits {
  plan: string
  /** Set by the operator for this workspace alone. */
  overrides: Limits
  limits: Record<LimitKind, { limit: number | null; used: number }>
}

/** Limits as they count, with what is used of them, measured now. */
export async function readLimits(db: Kysely<Database>, workspaceId: string): Promise<WorkspaceLimits | null> {
  const used = limitKinds.map((kind) => sql`${sql.lit(kind)}, ${measures[kind](workspaceId)}`)
  const { rows } = await sql<{
    plan: string
    overrides: Limits
    limits: Limits
    own: number | null
    used: Record<LimitKind, number>
  }>`
    select w.plan, w.limits as overrides, p.limits || w.limits as limits, l.runs as own,
      jsonb_build_object(${sql.join(used)}) as used
    from workspaces w join plans p on p.slug = w.plan left join workspace_limits l on l.workspace_id = w.id
    where w.id = ${workspaceId}`.execute(db)
  const row = rows[0]
  if (!row) return null
  // What the engine goes by: the plan's, or fewer where the workspace itself has said so.
  const limitOf = (kind: LimitKind) => (kind === 'concurrent_runs' ? row.own : null) ?? row.limits[kind] ?? null
  return {
    plan: row.plan,
    overrides: row.overrides,
    limits: Object.fromEntries(
      limitKinds.map((kind) => [kind, { limit: limitOf(kind), used: Number(row.used[kind]) }]),
    ) as WorkspaceLimits['limits'],
  }
}

export async function getCurrentLimits({ db, actor }: Pick<ServiceContext, 'db' | 'actor'>): Promise<WorkspaceLimits> {
  const limits = await readLimits(db, actor.workspaceId)
  if (!limits) throw new AppError('not-found', 'The workspace does not exist any more.')
  return limits
}

/** Of a row of `workspaces` and its plan: the lower of what the plan allows and what the workspace wants. */
const runsAllowed = sql`least((w.settings ->> 'concurrent_executions')::integer,
  ((p.limits || w.limits) ->> 'concurrent_runs')::integer)`

/** Tells the engine how many runs of a workspace may run at a time, where that has changed. */
export async function applyRunLimit(tx: Transaction<Database>, workspaceId: string): Promise<void> {
  const { rows } = await sql<{ wanted: number | null; known: number | null }>`
    select ${runsAllowed} as wanted, l.runs as known from workspaces w join plans p on p.slug = w.plan
    left join workspace_limits l on l.workspace_id = w.id where w.id = ${workspaceId}`.execute(tx)
  const row = rows[0]
  if (row && row.wanted !== row.known) await limitWorkspace(tx, workspaceId, row.wanted)
}

const fewAtOnce = 50

/** After a change of a plan: a bounded number of its workspaces, each by itself. Answers whether there may be more. */
export async function applyRunLimits(db: Kysely<Database>): Promise<boolean> {
  const { rows } = await sql<{ id: string }>`
    select w.id from workspaces w join plans p on p.slug = w.plan
    left join workspace_limits l on l.workspace_id = w.id
    where ${runsAllowed} is distinct from l.runs limit ${fewAtOnce}`.execute(db)
  for (const { id } of rows) {
    await db.transaction().execute(async (tx) => {
      await tx.selectFrom('workspaces').select('id').where('id', '=', id).forNoKeyUpdate().execute()
      await applyRunLimit(tx, id)
    })
  }
  return rows.length === fewAtOnce
}
