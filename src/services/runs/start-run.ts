import type { ServiceContext } from '../../context.ts'
import { isUniqueViolation } from '../../db/unique-violation.ts'
import { canonicalJson, sha256Hex } from '../../lib/canonical.ts'
import { parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { validateJson } from '../../lib/json-schema.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import type { RecipeDefinition } from '../recipes/definition.ts'
import { keyReused } from '../idempotency/answer-once.ts'
import { insertRuns } from './create-run.ts'
import { traceRun } from './run-trace.ts'

export interface StartedRun {
  id: string
  status: RunState
  /** The Idempotency-Key had made it before. */
  replayed?: boolean
}

/**
 * Creates a run and returns at once; a worker takes it from the queue. The same idempotency key with the same request
 * answers the run that it made before, with another request it is a conflict. Faults of the input point below
 * `inputPointer`.
 */
export async function startRun(
  ctx: ServiceContext,
  request: {
    definition: RecipeDefinition
    /** Of a stored recipe; without one the run carries its definition itself. */
    recipe?: { id: string; version: number }
    trigger: JsonObject
    input: Json
    stateKey?: string
    idempotencyKey?: string
    inputPointer?: string
  },
): Promise<StartedRun> {
  const { definition, recipe, trigger, input } = request
  if (definition.inputs) {
    const faults = validateJson(definition.inputs, input)
    if (faults.length > 0) {
      const errors = faults.map((fault) => ({ ...fault, pointer: `${request.inputPointer ?? ''}${fault.pointer}` }))
      throw new AppError('invalid', 'The input does not fit what the recipe asks for.', { errors })
    }
  }
  const requestHash = sha256Hex(
    canonicalJson({ recipe: recipe?.id ?? definition, input, stateKey: request.stateKey ?? null }),
  )
  const idempotencyKey = request.idempotencyKey ?? null
  if (idempotencyKey !== null) {
    const known = await findByKey(ctx, idempotencyKey, requestHash)
    if (known) return known
  }
  const id = uuidv7()
  const timeout = definition.settings?.timeout
  try {
    await insertRuns(ctx.db, [
      {
        id,
        workspaceId: ctx.actor.workspaceId,
        recipeId: recipe?.id ?? null,
        recipeVersion: recipe?.version ?? null,
        definition: recipe ? null : (definition as unknown as JsonObject),
        trigger,
        stateKey: request.stateKey ?? null,
        input,
        createdBy: ctx.actor.kind === 'key' ? ctx.actor.id : null,
        timeoutMs: timeout === undefined ? null : parseDuration(timeout),
        idempotencyKey,
        requestHash,
        traceContext: traceRun(ctx),
      },
    ])
  } catch (error) {
    // Two racing requests with one key: the unique index let one through, the other answers its run.
    const known =
      idempotencyKey !== null && isUniqueViolation(error) && (await findByKey(ctx, idempotencyKey, requestHash))
    if (known) return known
    throw error
  }
  ctx.wake.runReady(id)
  return { id, status: 'queued' }
}

/** The run that a request with this key made before; null where there is none. A key of another request is a conflict. */
export async function findByKey(ctx: ServiceContext, key: string, requestHash: string): Promise<StartedRun | null> {
  const run = await ctx.db
    .selectFrom('runs')
    .select(['id', 'state', 'request_hash'])
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('idempotency_key', '=', key)
    .executeTakeFirst()
  if (!run) return null
  if (run.request_hash !== requestHash) throw keyReused()
  return { id: run.id, status: run.state, replayed: true }
}
