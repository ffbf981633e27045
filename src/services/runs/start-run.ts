import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import { isUniqueViolation } from '../../db/unique-violation.ts'
import { canonicalJson, sha256Hex } from '../../lib/canonical.ts'
import { parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import { derivedUuid, uuidv7 } from '../../lib/ids.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { validateJson } from '../../lib/json-schema.ts'
import { keyReused } from '../idempotency/answer-once.ts'
import type { RecipeDefinition } from '../recipes/definition.ts'
import { tellOf } from './children.ts'
import { linesOf, lockLines, noAdmission, type Admission } from './concurrency/admit.ts'
import { joinDebounced } from './concurrency/debounce.ts'
import { KeyError, startPolicy, type StartPolicy } from './concurrency/policy.ts'
import { insertRuns, inTransaction, type NewRun } from './create-run.ts'
import { traceRun } from './run-trace.ts'

export interface StartedRun {
  id: string
  status: RunState
  /** The Idempotency-Key had made it before. */
  replayed?: boolean
  /** A run that another trigger has made, and that waits for triggers to cease, has taken this one in. */
  debounced?: true
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
    priority?: number
    idempotencyKey?: string
    inputPointer?: string
    /** Asked before a run is made; throws where none may be. A run that the key has made before is answered without it. */
    admit?: () => Promise<void>
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
    canonicalJson({
      recipe: recipe?.id ?? definition,
      input,
      stateKey: request.stateKey ?? null,
      ...(request.priority !== undefined && { priority: request.priority }),
    }),
  )
  const idempotencyKey = request.idempotencyKey ?? null
  if (idempotencyKey !== null) {
    const known = await findByKey(ctx, idempotencyKey, requestHash)
    if (known) return known
  }
  await request.admit?.()
  const timeout = definition.settings?.timeout
  const run: NewRun & { requestHash: string } = {
    id: uuidv7(),
    workspaceId: ctx.actor.workspaceId,
    recipeId: recipe?.id ?? null,
    recipeVersion: recipe?.version ?? null,
    definition: recipe ? null : (definition as unknown as JsonObject),
    trigger,
    stateKey: request.stateKey ?? null,
    input,
    priority: request.priority ?? definition.settings?.priority ?? 0,
    createdBy: ctx.actor.kind === 'key' ? ctx.actor.id : null,
    timeoutMs: timeout === undefined ? null : parseDuration(timeout),
    idempotencyKey,
    requestHash,
    traceContext: traceRun(ctx),
    policy: recipe ? policyOf(definition, recipe.id, { input, trigger }) : null,
  }
  try {
    const { policy } = run
    if (policy?.debounce) {
      const { debounce } = policy
      return await startDebounced(ctx, run, { ...policy, debounce })
    }
    return await insert(ctx, run)
  } catch (error) {
    // Two racing requests with one key: the unique index let one through, the other answers its run.
    const known =
      idempotencyKey !== null && isUniqueViolation(error) && (await findByKey(ctx, idempotencyKey, requestHash))
    if (known) return known
    throw error
  }
}

async function insert(ctx: ServiceContext, run: NewRun): Promise<StartedRun> {
  const admission = await insertRuns(ctx.db, [run])
  if (run.policy) await tellOf(ctx, admission)
  const status = statusAfter(admission, run.id)
  if (status === 'queued') ctx.wake.runReady(run.id)
  return { id: run.id, status }
}

const statusAfter = ({ skipped }: Admission, id: string) => (skipped.has(id) ? 'canceled' : 'queued')

/** Steps, schedules and replays ask for runs of their own; what comes from outside may be one of many that mean the same. */
const debounced = new Set(['api', 'webhook'])

/** Throws `invalid` for a key without a value. */
export function policyOf(definition: RecipeDefinition, recipeId: string, scope: { input: Json; trigger: JsonObject }) {
  try {
    const policy = startPolicy(definition.settings, recipeId, scope)
    return policy && !debounced.has(String(scope.trigger['kind'])) ? { ...policy, debounce: null } : policy
  } catch (error) {
    if (!(error instanceof KeyError)) throw error
    throw new AppError('invalid', 'The recipe cannot tell which of its executions this one belongs to.', {
      errors: [{ pointer: '', detail: error.forPeople }],
    })
  }
}

/** Joins the run that waits, or makes the one that further triggers join. */
async function startDebounced(
  ctx: ServiceContext,
  run: NewRun & { requestHash: string },
  policy: StartPolicy & { debounce: NonNullable<StartPolicy['debounce']> },
): Promise<StartedRun> {
  const { idempotencyKey = null, recipeVersion, stateKey = null, priority = 0, timeoutMs = null } = run
  const { started, admission } = await inTransaction(ctx.db, async (tx) => {
    const keyLine = idempotencyKey === null ? [] : [derivedUuid(run.workspaceId, `idempotency:${idempotencyKey}`)]
    await lockLines(tx, [policy.debounce.line, ...keyLine, ...linesOf(policy)])
    const known = idempotencyKey === null ? null : await findByKey({ ...ctx, db: tx }, idempotencyKey, run.requestHash)
    if (known) return { started: known, admission: noAdmission() }
    const further = { ...run, idempotencyKey, recipeVersion: recipeVersion!, stateKey, priority, timeoutMs, policy }
    const joined = await joinDebounced(tx, further)
    const admission = joined?.admission ?? (await insertRuns(tx, [run]))
    const id = joined?.id ?? run.id
    const started: StartedRun = { id, status: statusAfter(admission, id), ...(joined && { debounced: true }) }
    return { started, admission }
  })
  await tellOf(ctx, admission)
  ctx.wake.runReady(started.id)
  if (started.debounced) ctx.wake.events(started.id)
  return started
}

/** The run that a request with this key made before; null where there is none. A key of another request is a conflict. */
export async function findByKey(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  key: string,
  requestHash: string,
): Promise<StartedRun | null> {
  const { rows } = await sql<{ id: string; state: RunState; request_hash: string; joined: boolean }>`
    select id, state, request_hash, false as joined from runs
    where workspace_id = ${actor.workspaceId} and idempotency_key = ${key}
    union all
    select r.id, r.state, j.request_hash, true from joined_triggers j join runs r on r.id = j.run_id
    where j.workspace_id = ${actor.workspaceId} and j.idempotency_key = ${key}
    limit 1`.execute(db)
  const run = rows[0]
  if (!run) return null
  if (run.request_hash !== requestHash) throw keyReused()
  return { id: run.id, status: run.state, replayed: true, ...(run.joined && { debounced: true as const }) }
}
