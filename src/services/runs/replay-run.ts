import { sql, type Kysely } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { toJsonText } from '../../db/json.ts'
import { isUniqueViolation } from '../../db/unique-violation.ts'
import { canonicalJson, sha256Hex } from '../../lib/canonical.ts'
import { parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { validateJson } from '../../lib/json-schema.ts'
import { recordAudit } from '../audit/record.ts'
import type { RecipeDefinition } from '../recipes/definition.ts'
import { tellOf } from './children.ts'
import { noAdmission } from './concurrency/admit.ts'
import { insertRuns } from './create-run.ts'
import { locate, pathAbove } from './locate.ts'
import { moveBlobs } from './move-blobs.ts'
import { itemKind } from './records.ts'
import { byPath, reopenFailed, reopenFrom, type Reopening, type StepOutline } from './reopen.ts'
import { definitionOf, failedStepOf, outlineSteps } from './retry.ts'
import { traceRun } from './run-trace.ts'
import { findByKey, policyOf, type StartedRun } from './start-run.ts'
import { isEnd } from './states.ts'

export interface ReplayRequest {
  /** An execution of the workspace. */
  runId: string
  /** Path of a step of it; without one the new run begins at the beginning. */
  from?: string
  /** Another version of its recipe; without one the version that it had. */
  version?: number
  /** In place of its own input. */
  input?: Json
  idempotencyKey?: string
}

/**
 * Makes a new run of what a run did, from any of its steps on: the steps before have the results that they had. The run
 * that is replayed has ended, so that all that came before the step is settled.
 */
export async function replayRun(
  ctx: ServiceContext,
  request: ReplayRequest,
): Promise<StartedRun & { recipe_id: string | null; recipe_version: number | null }> {
  const requestHash = sha256Hex(canonicalJson({ replay: request.runId, ...hashed(request) }))
  const idempotencyKey = request.idempotencyKey ?? null
  const source = await findSource(ctx, request.runId)
  const place = { recipe_id: source.recipe_id, recipe_version: request.version ?? source.recipe_version }
  if (idempotencyKey !== null) {
    const known = await findByKey(ctx, idempotencyKey, requestHash)
    if (known) return { ...known, ...place }
  }
  if (!isEnd(source.state))
    throw new AppError('conflict', `Execution ${source.id} is ${source.state}; it can be replayed once it has ended.`)
  const definition = await definitionFor(ctx, source, request.version)
  const input = request.input ?? source.input
  checkInput(definition, input)
  const id = uuidv7()
  const plan = await planSteps(ctx.db, source, request.from, definition)
  const nameMoved = await moveBlobs(ctx, source.id, id, plan.kept)
  const timeout = definition.settings?.timeout
  const trigger = { kind: 'replay', execution_id: source.id, from_step: request.from ?? null }
  const policy = source.recipe_id === null ? null : policyOf(definition, source.recipe_id, { input, trigger })
  let admission = noAdmission()
  try {
    await ctx.db.transaction().execute(async (tx) => {
      admission = await insertRuns(tx, [
        {
          id,
          workspaceId: ctx.actor.workspaceId,
          recipeId: source.recipe_id,
          recipeVersion: place.recipe_version,
          definition: source.recipe_id === null ? (definition as unknown as JsonObject) : null,
          trigger,
          stateKey: source.state_key,
          input,
          priority: definition.settings?.priority ?? 0,
          policy,
          createdBy: ctx.actor.kind === 'key' ? ctx.actor.id : null,
          timeoutMs: timeout === undefined ? null : parseDuration(timeout),
          idempotencyKey,
          requestHash,
          traceContext: traceRun(ctx),
        },
      ])
      await tx
        .updateTable('runs')
        // The first fence is that of a run of which nothing is stored; this one has steps to be read.
        .set({ replay_of: source.id, replayed_from: request.from ?? null, fence: 1 })
        .where('id', '=', id)
        .execute()
      await copySteps(tx, source.id, id, plan)
      await nameMoved(tx)
      await recordAudit(tx, ctx, {
        action: 'execution.replayed',
        target: { type: 'execution', id: source.id },
        after: { execution_id: id, from_step: request.from ?? null, recipe_version: place.recipe_version },
      })
    })
  } catch (error) {
    const known =
      idempotencyKey !== null && isUniqueViolation(error) && (await findByKey(ctx, idempotencyKey, requestHash))
    if (known) return { ...known, ...place }
    throw error
  }
  await tellOf(ctx, admission)
  if (admission.skipped.has(id)) return { id, status: 'canceled', ...place }
  ctx.wake.runReady(id)
  return { id, status: 'queued', ...place }
}

const hashed = ({ from, version, input }: ReplayRequest): JsonObject => ({
  from: from ?? null,
  version: version ?? null,
  input: input ?? null,
})

async function findSource(ctx: ServiceContext, runId: string) {
  const source = await ctx.db
    .selectFrom('runs')
    .select(['id', 'state', 'recipe_id', 'recipe_version', 'definition', 'input', 'error', 'state_key'])
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('id', '=', runId)
    .executeTakeFirst()
  if (!source) throw new AppError('not-found', `Execution ${runId} does not exist.`)
  return source
}

async function definitionFor(
  { db, actor }: ServiceContext,
  source: Awaited<ReturnType<typeof findSource>>,
  version: number | undefined,
): Promise<RecipeDefinition> {
  if (version === undefined) return definitionOf(db, source)
  const row = await db
    .selectFrom('recipe_versions')
    .select('definition')
    .where('workspace_id', '=', actor.workspaceId)
    .where('recipe_id', '=', source.recipe_id)
    .where('version', '=', version)
    .executeTakeFirst()
  if (row) return row.definition as unknown as RecipeDefinition
  const detail = source.recipe_id === null ? 'the run belongs to no recipe' : `the recipe has no version ${version}`
  throw new AppError('invalid', `It cannot be replayed so: ${detail}.`, {
    errors: [{ pointer: '/recipe_version', detail }],
  })
}

function checkInput(definition: RecipeDefinition, input: Json): void {
  if (!definition.inputs) return
  const faults = validateJson(definition.inputs, input)
  if (faults.length === 0) return
  const errors = faults.map((fault) => ({ ...fault, pointer: `/input_data${fault.pointer}` }))
  throw new AppError('invalid', 'The input does not fit what the recipe asks for.', { errors })
}

interface Plan {
  kept: string[]
  enter: string[]
}

async function planSteps(
  db: Kysely<Database>,
  source: Awaited<ReturnType<typeof findSource>>,
  from: string | undefined,
  definition: RecipeDefinition,
): Promise<Plan> {
  if (from === undefined) return { kept: [], enter: [] }
  const rows = await outlineSteps(db, source.id)
  if (!rows.some(({ path }) => path === from)) {
    const detail = `the execution did not come to a step ${from}`
    throw new AppError('invalid', `It cannot be replayed so: ${detail}.`, {
      errors: [{ pointer: '/from_step', detail }],
    })
  }
  return planFrom(rows, reopenFrom(rows, definition, from), definition, failedStepOf(source))
}

/** Less what the definition does not have any more. What failed or was cut off beside the step goes on as in a retry. */
function planFrom(
  rows: readonly StepOutline[],
  { again, enter }: Reopening,
  definition: RecipeDefinition,
  failedPath: string | null,
): Plan {
  const undone = new Set(again)
  const known = new Set(rows.map(({ path }) => path))
  const left = new Set<string>()
  for (const row of rows.toSorted(byPath)) {
    const above = pathAbove(row.path, (path) => known.has(path))
    if (undone.has(row.path) || (above !== null && !left.has(above)) || !isOf(definition, row)) continue
    left.add(row.path)
  }
  const beside = reopenFailed(
    rows.filter(({ path }) => left.has(path)),
    definition,
    failedPath,
    enter.filter((path) => left.has(path)),
  )
  for (const path of beside.again) left.delete(path)
  return { kept: [...left], enter: beside.enter }
}

function isOf(definition: RecipeDefinition, { path, kind }: StepOutline): boolean {
  const located = locate(definition, path)
  return located !== null && (located.isItem ? itemKind : located.step.kind) === kind
}

async function copySteps(tx: Kysely<Database>, from: string, to: string, { kept, enter }: Plan): Promise<void> {
  if (kept.length === 0) return
  await sql`
    with kept as materialized (
      select jsonb_array_elements_text(${toJsonText(kept)}::text::jsonb) as path
    ), entered as materialized (
      select jsonb_array_elements_text(${toJsonText(enter)}::text::jsonb) as path
    )
    insert into run_steps (run_id, path, parent, ordinal, step_id, kind, status, attempts, output, error, state,
      started_at, finished_at)
    select ${to}::text::uuid, s.path, s.parent, s.ordinal, s.step_id, s.kind,
      case when e.path is null then s.status else 'pending' end, s.attempts,
      case when e.path is null then s.output end, case when e.path is null then s.error end, s.state,
      s.started_at, case when e.path is null then s.finished_at end
    from run_steps s join kept k on k.path = s.path left join entered e on e.path = s.path
    where s.run_id = ${from}`.execute(tx)
}
