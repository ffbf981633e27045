import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { newestFirst } from '../../db/keyset.ts'
import { addDecimals } from '../../lib/decimal.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import type { JsonObject } from '../../lib/json.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { recordAudit } from '../audit/record.ts'
import type { RunReport } from './compare.ts'

export interface Replay {
  id: string
  recipe_id: string
  recipe_version: number
  model: JsonObject | null
  call_models: boolean
  status: 'queued' | 'running' | 'finished' | 'canceled'
  total: number
  compared: number
  failed: number
  same: number
  different: number
  unknown: number
  /** Sums over what has been compared; null where any of it is not known. */
  cost_usd: { recorded: string | null; replayed: string | null; spent: string | null }
  created_at: string
  finished_at: string | null
}

export interface ReplayedExecution {
  execution_id: string
  status: 'pending' | 'compared' | 'failed'
  verdict: 'same' | 'different' | 'unknown' | null
  report: RunReport | null
  error: JsonObject | null
  finished_at: string | null
}

export const replayNotFound = (id: string) => new AppError('not-found', `Replay ${id.slice(0, 100)} does not exist.`)

const columns = [
  'id',
  'recipe_id',
  'recipe_version',
  'model',
  'call_models',
  'state',
  'total',
  'created_at',
  'finished_at',
] as const

export async function getReplay(ctx: ServiceContext, id: string): Promise<Replay> {
  if (!isUuid(id)) throw replayNotFound(id)
  const row = await ctx.db
    .selectFrom('replays')
    .select(columns)
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('id', '=', id)
    .executeTakeFirst()
  if (!row) throw replayNotFound(id)
  return toReplay(row, (await progressOf(ctx, [id])).get(id))
}

export async function listReplays(ctx: ServiceContext, page: PageRequest): Promise<Page<Replay>> {
  const all = ctx.db.selectFrom('replays').select(columns).where('workspace_id', '=', ctx.actor.workspaceId)
  const rows = await newestFirst(all, page).execute()
  const progress = await progressOf(
    ctx,
    rows.map(({ id }) => id),
  )
  return toPage(rows, page.limit, byCreation, (row) => toReplay(row, progress.get(row.id)))
}

/** In the order in which they were picked; the cursor is the place of the last. */
export async function listReplayedExecutions(
  ctx: ServiceContext,
  request: { id: string; limit: number; cursor?: number | undefined },
): Promise<Page<ReplayedExecution>> {
  await getReplay(ctx, request.id)
  const rows = await ctx.db
    .selectFrom('replay_runs')
    .select(['run_id', 'ordinal', 'state', 'verdict', 'report', 'error', 'finished_at'])
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('replay_id', '=', request.id)
    .where('ordinal', '>', request.cursor ?? -1)
    .orderBy('ordinal')
    .limit(request.limit + 1)
    .execute()
  const shown = rows.slice(0, request.limit)
  return {
    items: shown.map((row) => ({
      execution_id: row.run_id,
      status: row.state,
      verdict: row.verdict,
      // Only `compareRun` writes one.
      report: row.report as unknown as RunReport | null,
      error: row.error,
      finished_at: row.finished_at?.toISOString() ?? null,
    })),
    next_cursor: rows.length > request.limit ? String(shown.at(-1)!.ordinal) : null,
  }
}

/** What has not been compared yet is left out; what is being compared comes to its end, and is not written. */
export async function cancelReplay(ctx: ServiceContext, id: string): Promise<Replay> {
  const replay = await getReplay(ctx, id)
  if (replay.status === 'finished') throw new AppError('conflict', `Replay ${id} has finished.`)
  await ctx.db.transaction().execute(async (tx) => {
    const { numUpdatedRows } = await tx
      .updateTable('replays')
      .set({ state: 'canceled', finished_at: sql<Date>`app_now()` })
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('id', '=', id)
      .where('state', 'in', ['queued', 'running'])
      .executeTakeFirst()
    if (numUpdatedRows > 0n) await recordAudit(tx, ctx, { action: 'replay.canceled', target: { type: 'replay', id } })
  })
  return getReplay(ctx, id)
}

interface Progress {
  replay_id: string
  compared: number
  failed: number
  same: number
  different: number
  unknown: number
  costs: { recorded: string | null; replayed: string | null; spent: string | null }[]
}

async function progressOf(ctx: ServiceContext, ids: readonly string[]): Promise<Map<string, Progress>> {
  if (ids.length === 0) return new Map()
  const { rows } = await sql<Progress>`
    select replay_id, (count(*) filter (where state = 'compared'))::integer as compared,
      (count(*) filter (where state = 'failed'))::integer as failed,
      (count(*) filter (where verdict = 'same'))::integer as same,
      (count(*) filter (where verdict = 'different'))::integer as different,
      (count(*) filter (where verdict = 'unknown'))::integer as unknown,
      coalesce(jsonb_agg(report -> 'cost_usd') filter (where state = 'compared'), '[]') as costs
    from replay_runs
    where workspace_id = ${ctx.actor.workspaceId} and replay_id in (${sql.join(ids)})
    group by replay_id`.execute(ctx.db)
  return new Map(rows.map((row) => [row.replay_id, row]))
}

interface ReplayRow {
  id: string
  recipe_id: string
  recipe_version: number
  model: JsonObject | null
  call_models: boolean
  state: Replay['status']
  total: number
  created_at: Date
  finished_at: Date | null
}

function toReplay(row: ReplayRow, progress: Progress | undefined): Replay {
  const sum = (name: 'recorded' | 'replayed' | 'spent') =>
    (progress?.costs ?? []).reduce<string | null>((total, cost) => {
      const value = cost[name]
      return total === null || value === null ? null : addDecimals(total, value)
    }, '0')
  const { compared = 0, failed = 0, same = 0, different = 0, unknown = 0 } = progress ?? {}
  return {
    id: row.id,
    recipe_id: row.recipe_id,
    recipe_version: row.recipe_version,
    model: row.model,
    call_models: row.call_models,
    status: row.state,
    total: row.total,
    compared,
    failed,
    same,
    different,
    unknown,
    cost_usd: { recorded: sum('recorded'), replayed: sum('replayed'), spent: sum('spent') },
    created_at: row.created_at.toISOString(),
    finished_at: row.finished_at?.toISOString() ?? null,
  }
}
