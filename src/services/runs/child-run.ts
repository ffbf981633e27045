import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import { toJsonText } from '../../db/json.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import { formatDuration, parseDuration } from '../../lib/duration.ts'
import { derivedUuid, isUuid } from '../../lib/ids.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { validateJson } from '../../lib/json-schema.ts'
import { renderTree } from '../../lib/language/tree.ts'
import type { RecipeStep } from '../recipes/definition.ts'
import { loadRecipeForRun } from '../recipes/find.ts'
import { asStepError, draftOf, errorView, failStep, rest, retryDelayMs, succeed, type StepResult } from './attempts.ts'
import { awaitOutside, type Look } from './await-outside.ts'
import { tellOf } from './children.ts'
import { admitRuns, linesOf, lockLines, noAdmission } from './concurrency/admit.ts'
import { policyOrFault, type StartPolicy } from './concurrency/policy.ts'
import type { Flow, Frame } from './flow.ts'
import { ItemAborted } from './interruptions.ts'
import { wakeNudged } from './nudge.ts'
import type { StepRecord } from './records.ts'
import { contextAt, traceRun } from './run-trace.ts'
import { RunLost, type StepDraft } from './run-writer.ts'
import { asStored, rehome } from './spill.ts'
import { isEnd } from './states.ts'
import { StepError } from './step-executor.ts'

/** Runs that start runs that start runs: a recipe that calls itself ends here. */
export const maxDepth = 5
/** Runs below one that no step has started, whatever has become of them: a recipe that calls itself for each of many items ends here. */
export const maxDescendants = 10_000

/** The run that a run comes from by steps, and by failures of such runs. */
export function rootOf({ id, trigger }: { id: string; trigger: JsonObject }): string {
  const { kind, root } = trigger
  return (kind === 'recipe' || kind === 'on_failure') && typeof root === 'string' && isUuid(root) ? root : id
}

/** What the step remembers of the attempt under way. */
type Begun = { child: string; until: string | null }

/** Starts a run of another recipe and parks until it has ended. Each attempt has exactly one child, whose id follows from it. */
export async function runChild(
  flow: Flow,
  step: RecipeStep,
  path: string,
  frame: Frame,
  record: StepRecord | undefined,
): Promise<StepResult> {
  let draft = draftOf(flow, step, path, frame, record)
  if (record?.status === 'waiting' && record.error && record.wake_at) {
    const verdict = await rest(flow, path, record.wake_at.getTime() - flow.nowMs(), frame.signal)
    if (verdict === 'parked') return { status: 'parked' }
    draft = { ...draft, attempts: draft.attempts + 1, error: null, wake_at: null, state: null }
  } else {
    draft = { ...draft, attempts: Math.max(1, draft.attempts) }
    if (record?.status !== 'waiting') draft = { ...draft, state: null, startedMs: flow.runtime.clock.monotonicMs() }
  }
  for (;;) {
    let error: StepError
    try {
      const result = await attempt(flow, step, path, frame, draft)
      if (result === 'parked') return { status: 'parked' }
      return await succeed(flow, { ...draft, delay_ms: null, wake_at: null, state: null }, result.output)
    } catch (thrown) {
      error = asStepError(flow, thrown)
    }
    const view = errorView(error, draft.attempts)
    const delayMs = retryDelayMs(step, error, draft.attempts)
    if (delayMs === null) return failStep(flow, { ...draft, delay_ms: null, wake_at: null }, view)
    flow.runtime.measures?.stepRetries.add(1, step.kind)
    draft = { ...draft, status: 'waiting', error: view, delay_ms: delayMs, wake_at: null, state: null }
    flow.writeRetry(draft)
    flow.emit('step.retrying', { path, error: view, delay_ms: Math.round(delayMs) })
    if ((await rest(flow, path, delayMs, frame.signal)) === 'parked') return { status: 'parked' }
    draft = { ...draft, attempts: draft.attempts + 1, error: null, delay_ms: null }
  }
}

async function attempt(
  flow: Flow,
  step: RecipeStep,
  path: string,
  frame: Frame,
  draft: StepDraft,
): Promise<{ output: Json } | 'parked'> {
  flow.startable(frame.signal)
  let begun = draft.state as Begun | null
  if (!begun) {
    begun = await begin(flow, step, path, frame, draft.attempts)
    flow.write({ ...draft, status: 'waiting', error: null, delay_ms: null, wake_at: begun.until, state: begun })
    const until: JsonObject = begun.until === null ? {} : { until: begun.until }
    flow.emit('step.waiting', { path, kind: step.kind, execution_id: begun.child, ...until })
  }
  const { child, until } = begun
  try {
    const result = await awaitOutside(flow, path, frame.signal, () => lookAtChild(flow, child, until))
    if (result === 'parked') return 'parked'
    if (result.found === 'late') {
      await cancelChild(flow, child, 'It took longer than the step that started it allows.')
      throw new StepError('timeout', `The run ${child} took longer than ${formatDuration(timeoutOf(step) ?? 0)}.`)
    }
    const { blobs } = flow.runtime
    // What of its output the child keeps apart is kept for the parent too, which may outlive it.
    return { output: await rehome(blobs, flow.run.workspace_id, flow.run.id, outputOf(child, result.found)) }
  } catch (error) {
    // The parent goes on without this item; when the parent itself ends, its children end with it.
    if (error instanceof ItemAborted) await cancelChild(flow, child, 'The step that started it was given up.')
    throw error
  }
}

const timeoutOf = (step: RecipeStep) => (step.timeout === undefined ? null : parseDuration(step.timeout))

async function begin(flow: Flow, step: RecipeStep, path: string, frame: Frame, attemptNumber: number): Promise<Begun> {
  const { run, runtime } = flow
  const depth = Number(run.trigger['depth'] ?? 0) + 1
  if (depth > maxDepth)
    throw new StepError('depth_limit', `Recipes may start each other ${maxDepth} levels deep.`, { retryable: false })
  const input = asStored(step.input === undefined ? {} : renderTree(step.input, flow.scope(frame)))
  const recipe = await flow.read(() => loadRecipeForRun(runtime.db, run.workspace_id, step.recipe, step.version))
  if (!recipe) {
    const name = step.version === undefined ? `'${step.recipe}'` : `'${step.recipe}' with a version ${step.version}`
    throw new StepError('recipe_not_found', `There is no recipe ${name}.`, { retryable: false })
  }
  checkInput(recipe.definition.inputs, input)
  const child = derivedUuid(run.id, `${run.generation}/${path}/${attemptNumber}`)
  const { settings } = recipe.definition
  const limit = settings?.timeout
  const trigger = { kind: 'recipe', execution_id: run.id, step: path, depth, root: rootOf(run) }
  const { policy, fault } = policyOrFault(settings, recipe.id, { input, trigger })
  if (fault) throw new StepError('invalid_input', fault, { retryable: false })
  const row = {
    id: child,
    recipe_id: recipe.id,
    recipe_version: recipe.version,
    trigger,
    input,
    timeout_ms: limit === undefined ? null : parseDuration(limit),
    created_by: run.created_by,
    trace_context: traceRun(contextAt(flow, frame.trace)),
  }
  // Its input was worked out from results: they are stored before it starts.
  await flow.readyForEffect(frame.signal)
  const state = await flow.read(() =>
    policy ? admitChild(flow, row, policy) : insertChild(flow.runtime.db, flow, row),
  )
  if (state?.state === 'refused')
    throw new StepError('too_many_runs', `A run may start ${maxDescendants} runs, with those that they start.`, {
      retryable: false,
    })
  if (state === null) {
    flow.writer.markLost()
    throw new RunLost()
  }
  runtime.wake.runReady(child)
  const timeoutMs = timeoutOf(step)
  return { child, until: timeoutMs === null ? null : new Date(flow.nowMs() + timeoutMs).toISOString() }
}

function checkInput(inputs: JsonObject | undefined, input: Json): void {
  if (!isObject(input)) throw new StepError('invalid_input', 'input is not an object.', { retryable: false })
  const faults = inputs ? validateJson(inputs, input) : []
  if (faults.length === 0) return
  const listed = faults.slice(0, 10).map(({ pointer, detail }) => `${pointer || '/'} ${detail}`)
  throw new StepError('invalid_input', `The input does not fit the recipe: ${listed.join('; ')}`, { retryable: false })
}

/**
 * Under the owner's fence, with its place in the queue and its first event. Null: the lease is lost. Refused: as many as may
 * have come from one run are there. Inserted again, it is counted once.
 */
async function insertChild(db: Kysely<Database>, { run }: Flow, row: JsonObject): Promise<Inserted | null> {
  const id = String(row['id'])
  const { rows } = await sql<Inserted>`
    with held as materialized (
      select id, workspace_id, priority from runs
      where id = ${run.id} and fence = ${run.fence} and state = 'running' for no key update
    ), fresh as (
      select id from held where not exists (select from runs where id = ${id})
    ), counted as (
      insert into run_families as f (root_id, started) select ${rootOf(run)}::uuid, 1 from fresh
      on conflict (root_id) do update set started = f.started + 1 where f.started < ${maxDescendants}::integer
      returning root_id
    ), made as (
      insert into runs (id, workspace_id, recipe_id, recipe_version, state, trigger, parent_run_id, input, priority,
        created_by, timeout_ms, trace_context, last_seq)
      select c.id, held.workspace_id, c.recipe_id, c.recipe_version, 'queued', c.trigger, held.id,
        coalesce(c.input, 'null'), held.priority, c.created_by, c.timeout_ms, c.trace_context, 1
      from counted cross join held cross join jsonb_to_record(${toJsonText(row)}::text::jsonb) as c(
        id uuid, recipe_id uuid, recipe_version integer, trigger jsonb, input jsonb, timeout_ms double precision,
        created_by text, trace_context jsonb)
      on conflict (id) do nothing
      returning id, workspace_id, priority, state, trigger
    ), queued as (
      insert into run_queue (run_id, workspace_id, priority) select id, workspace_id, priority from made
    ), logged as (
      insert into run_events (run_id, seq, type, data)
      select id, 1, 'execution.queued', jsonb_build_object('trigger', trigger) from made
    )
    select state, true as made from made
    union all
    select state, false from runs where id = ${id}
    union all
    select 'refused', false from fresh where not exists (select from counted)`.execute(db)
  return rows[0] ?? null
}

interface Inserted {
  state: RunState | 'refused'
  /** Not so where an earlier attempt had made it. */
  made: boolean
}

/** A child whose recipe limits its starts. The locks come first: the statement holds the parent's row. */
async function admitChild(flow: Flow, row: JsonObject, policy: StartPolicy): Promise<Inserted | null> {
  const { db } = flow.runtime
  let admission = noAdmission()
  const inserted = await db.transaction().execute(async (tx) => {
    await lockLines(tx, linesOf(policy))
    const child = await insertChild(tx, flow, row)
    if (child?.made)
      admission = await admitRuns(tx, [{ id: String(row['id']), workspaceId: flow.run.workspace_id, policy }])
    return child
  })
  await tellOf(flow.runtime, admission)
  return inserted
}

interface Child {
  state: RunState
  output: Json
  error: JsonObject | null
}

async function lookAtChild({ runtime }: Flow, id: string, until: string | null): Promise<Look<Child | 'late' | null>> {
  const { rows } = await sql<Child & { late: boolean }>`
    select state, output, error, coalesce(${until}::text::timestamptz <= app_now(), false) as late
    from runs where id = ${id}`.execute(runtime.db)
  const child = rows[0]
  if (!child) return { found: null }
  if (isEnd(child.state)) return { found: child }
  return child.late ? { found: 'late' } : { until: until === null ? null : new Date(until) }
}

function outputOf(id: string, child: Child | null): Json {
  if (!child) throw new StepError('child_gone', `The run ${id} has been deleted.`, { retryable: false })
  if (child.state === 'succeeded') return child.output
  const why = typeof child.error?.['detail'] === 'string' ? `: ${child.error['detail']}` : '.'
  throw new StepError(`child_${child.state}`, `The run ${id} has ${ends[child.state] ?? 'ended'}${why}`, {
    retryable: child.state !== 'canceled',
  })
}

const ends: { [state in RunState]?: string } = {
  failed: 'failed',
  canceled: 'been canceled',
  timed_out: 'run out of time',
}

async function cancelChild(flow: Flow, id: string, reason: string): Promise<void> {
  const { runtime } = flow
  const { rows } = await flow.read(() =>
    sql<{ state: RunState | null }>`select cancel_by_inbox(${id}::uuid, ${reason}) as state`.execute(runtime.db),
  )
  const state = rows[0]?.state ?? null
  wakeNudged(runtime.wake, id, state === 'running' || state === null ? state : 'waiting')
}
