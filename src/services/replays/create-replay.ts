import type { ServiceContext } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import { isUniqueViolation } from '../../db/unique-violation.ts'
import { canonicalJson, sha256Hex } from '../../lib/canonical.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { recordAudit } from '../audit/record.ts'
import type { ModelChoice } from '../models/types.ts'
import { keyReused } from '../idempotency/answer-once.ts'
import { findRecipe } from '../recipes/find.ts'
import { getReplay, type Replay } from './read-replays.ts'

export interface NewReplay {
  /** Id or slug. */
  recipe: string
  /** The last so many of its executions that have ended … */
  last: number
  /** … or these. */
  executionIds?: readonly string[]
  /** Default: the latest. */
  version?: number
  model?: ModelChoice
  callModels: boolean
  idempotencyKey?: string
}

/** Notes which runs are to be gone through again, and how. The work is done by the ticks of `replays`. */
export async function createReplay(
  ctx: ServiceContext,
  request: NewReplay,
): Promise<{ replay: Replay; replayed: boolean }> {
  const { db, actor } = ctx
  const { row: recipe } = await findRecipe(db, actor.workspaceId, request.recipe)
  const { idempotencyKey = null, ...asked } = request
  const requestHash = sha256Hex(canonicalJson(asked as unknown as Json))
  const known = idempotencyKey === null ? null : await findByKey(ctx, idempotencyKey, requestHash)
  if (known) return { replay: known, replayed: true }
  const version = request.version ?? recipe.version
  await checkVersion(ctx, recipe.id, version)
  const runs = await pickRuns(ctx, recipe.id, request)
  const id = uuidv7()
  try {
    await db.transaction().execute(async (tx) => {
      await tx
        .insertInto('replays')
        .values({
          id,
          workspace_id: actor.workspaceId,
          recipe_id: recipe.id,
          recipe_version: version,
          model: request.model ? jsonb(request.model as unknown as JsonObject) : null,
          call_models: request.callModels,
          total: runs.length,
          idempotency_key: idempotencyKey,
          request_hash: requestHash,
          created_by: actor.kind === 'key' ? actor.id : null,
          finished_at: null,
        })
        .execute()
      await tx
        .insertInto('replay_runs')
        .values(
          runs.map((run_id, ordinal) => ({
            replay_id: id,
            run_id,
            workspace_id: actor.workspaceId,
            ordinal,
            lease_until: null,
            verdict: null,
            finished_at: null,
          })),
        )
        .execute()
      await recordAudit(tx, ctx, {
        action: 'replay.created',
        target: { type: 'replay', id },
        after: { recipe_id: recipe.id, version, executions: runs.length, call_models: request.callModels },
      })
    })
  } catch (error) {
    const raced =
      idempotencyKey !== null && isUniqueViolation(error) && (await findByKey(ctx, idempotencyKey, requestHash))
    if (raced) return { replay: raced, replayed: true }
    throw error
  }
  return { replay: await getReplay(ctx, id), replayed: false }
}

async function findByKey(ctx: ServiceContext, key: string, requestHash: string): Promise<Replay | null> {
  const row = await ctx.db
    .selectFrom('replays')
    .select(['id', 'request_hash'])
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('idempotency_key', '=', key)
    .executeTakeFirst()
  if (!row) return null
  if (row.request_hash !== requestHash) throw keyReused()
  return getReplay(ctx, row.id)
}

async function checkVersion({ db, actor }: ServiceContext, recipeId: string, version: number): Promise<void> {
  const found = await db
    .selectFrom('recipe_versions')
    .select('version')
    .where('workspace_id', '=', actor.workspaceId)
    .where('recipe_id', '=', recipeId)
    .where('version', '=', version)
    .executeTakeFirst()
  if (found) return
  const detail = `the recipe has no version ${version}`
  throw new AppError('invalid', `It cannot be compared so: ${detail}.`, {
    errors: [{ pointer: '/recipe_version', detail }],
  })
}

/** What was canceled says nothing about the recipe. */
const compared = ['succeeded', 'failed', 'timed_out'] as const

async function pickRuns({ db, actor }: ServiceContext, recipeId: string, request: NewReplay): Promise<string[]> {
  const { executionIds } = request
  let query = db
    .selectFrom('runs')
    .select('id')
    .where('workspace_id', '=', actor.workspaceId)
    .where('recipe_id', '=', recipeId)
    .where('state', 'in', [...compared])
    .where('started_at', 'is not', null)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
  if (executionIds === undefined) {
    const rows = await query.limit(request.last).execute()
    if (rows.length === 0) throw new AppError('conflict', 'The recipe has no execution that has ended.')
    return rows.map(({ id }) => id)
  }
  query = query.where('id', 'in', executionIds.filter(isUuid))
  const found = new Set((executionIds.some(isUuid) ? await query.execute() : []).map(({ id }) => id))
  const errors = executionIds.flatMap((id, index) =>
    found.has(id)
      ? []
      : [{ pointer: `/execution_ids/${index}`, detail: 'is no execution of the recipe that succeeded or failed' }],
  )
  if (errors.length > 0) throw new AppError('invalid', 'Not all of these executions can be compared.', { errors })
  return [...new Set(executionIds)]
}
