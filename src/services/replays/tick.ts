import { sql } from 'kysely'
import type { BackgroundService, Runtime, ServiceContext } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import type { JsonObject } from '../../lib/json.ts'
import { actingIn } from '../acting-in.ts'
import type { ModelChoice } from '../models/types.ts'
import { asDefinition } from '../recipes/find.ts'
import { storeUsage } from '../recipes/try-step.ts'
import { RunTimedOut } from '../runs/interruptions.ts'
import { compareRun, type RunReport } from './compare.ts'
import { loadRecorded } from './source.ts'

/** A tick takes no further run after this long, so that it stays one short pass. */
const budgetMs = 15_000
/** Models may be slow. The lease is longer, so that nobody begins what is still being done. */
const longestMs = 240_000
const leaseMinutes = 5
/** A run that its process did not survive so often is left out. */
const mostAttempts = 3

interface Taken {
  replay_id: string
  ordinal: number
  run_id: string
  workspace_id: string
  attempts: number
  recipe_id: string
  recipe_version: number
  model: JsonObject | null
  call_models: boolean
}

/** Works off what is to be compared, one run after the other, a run of each replay in turn. Any number of processes may do so at once. */
export async function replaysTick(runtime: Runtime): Promise<{ done: number; more: boolean }> {
  const endMs = runtime.clock.monotonicMs() + budgetMs
  let done = 0
  for (;;) {
    const taken = await takeNext(runtime)
    if (!taken) break
    await work(runtime, taken)
    done++
    if (runtime.shutdown?.aborted || runtime.clock.monotonicMs() >= endMs) return { done, more: true }
  }
  await closeFinished(runtime)
  return { done, more: false }
}

export const replaysService: BackgroundService = {
  name: 'replays',
  periodMs: 2_000,
  tick: replaysTick,
}

async function takeNext({ db }: Runtime): Promise<Taken | undefined> {
  const { rows } = await sql<Taken>`
    with next as materialized (
      select r.replay_id, r.ordinal from replays p join replay_runs r on r.replay_id = p.id and r.state = 'pending'
      where p.state in ('queued', 'running') and (r.lease_until is null or r.lease_until < app_now())
      order by r.ordinal, p.id limit 1 for update of r skip locked
    ), begun as (
      update replays p set state = 'running' from next where p.id = next.replay_id and p.state = 'queued'
    )
    update replay_runs r set attempts = r.attempts + 1, lease_until = app_now() + ${leaseMinutes} * interval '1 minute'
    from next join replays p on p.id = next.replay_id
    where r.replay_id = next.replay_id and r.ordinal = next.ordinal
    returning r.replay_id, r.ordinal, r.run_id, r.workspace_id, r.attempts, p.recipe_id, p.recipe_version, p.model,
      p.call_models`.execute(db)
  return rows[0]
}

type Result =
  | { state: 'compared'; verdict: 'same' | 'different' | 'unknown'; report: RunReport }
  | { state: 'failed'; error: JsonObject }

async function work(runtime: Runtime, taken: Taken): Promise<void> {
  if (taken.attempts > mostAttempts) {
    const detail = `${mostAttempts} processes have begun it, and none came to its end.`
    return write(runtime, taken, { state: 'failed', error: { kind: 'gave_up', detail } })
  }
  const ctx = actingIn(
    runtime,
    { kind: 'system', id: taken.replay_id, workspaceId: taken.workspace_id, permissions: new Set() },
    runtime.log.with({ replay_id: taken.replay_id, run_id: taken.run_id }),
  )
  const over = new AbortController()
  const stop = () => over.abort(new RunTimedOut())
  const timer = setTimeout(stop, longestMs)
  runtime.shutdown?.addEventListener('abort', stop)
  let result: Result
  try {
    result = await compare(ctx, taken, over.signal)
  } catch (error) {
    if (runtime.shutdown?.aborted) return giveBack(runtime, taken)
    ctx.log.error('A run could not be compared.', { error })
    const detail = over.signal.aborted ? 'It took too long.' : 'It failed unexpectedly.'
    result = { state: 'failed', error: { kind: over.signal.aborted ? 'timeout' : 'internal', detail } }
  } finally {
    clearTimeout(timer)
    runtime.shutdown?.removeEventListener('abort', stop)
  }
  await write(runtime, taken, result)
}

async function compare(ctx: ServiceContext, taken: Taken, signal: AbortSignal): Promise<Result> {
  const recorded = await loadRecorded(ctx.db, taken.workspace_id, taken.run_id)
  if (recorded === null) return { state: 'failed', error: { kind: 'gone', detail: 'The execution was deleted.' } }
  if (typeof recorded === 'string') return { state: 'failed', error: { kind: 'not_comparable', detail: recorded } }
  const version = await ctx.db
    .selectFrom('recipe_versions')
    .select('definition')
    .where('workspace_id', '=', taken.workspace_id)
    .where('recipe_id', '=', taken.recipe_id)
    .where('version', '=', taken.recipe_version)
    .executeTakeFirstOrThrow()
  const { report, usage } = await compareRun(ctx, recorded, {
    definition: asDefinition(version.definition),
    version: taken.recipe_version,
    model: taken.model as unknown as ModelChoice | null,
    callModels: taken.call_models,
    signal,
  })
  await storeUsage(ctx, usage)
  return { state: 'compared', verdict: verdictOf(report), report }
}

function verdictOf({ counts, status, output_is_same, stopped_at }: RunReport): 'same' | 'different' | 'unknown' {
  if (stopped_at !== null || output_is_same === null) return 'unknown'
  const { same: _, ...differing } = counts
  const isSame = Object.values(differing).every((count) => count === 0) && output_is_same
  return isSame && status.recorded === status.replayed ? 'same' : 'different'
}

/** Nothing is written for who was not done in time and is done by another now, nor behind a cancellation. */
async function write({ db }: Runtime, taken: Taken, result: Result): Promise<void> {
  await db
    .updateTable('replay_runs')
    .set({
      state: result.state,
      lease_until: null,
      finished_at: sql<Date>`app_now()`,
      ...(result.state === 'compared'
        ? { verdict: result.verdict, report: jsonb(result.report) }
        : { error: jsonb(result.error) }),
    })
    .where('replay_id', '=', taken.replay_id)
    .where('ordinal', '=', taken.ordinal)
    .where('attempts', '=', taken.attempts)
    .where('state', '=', 'pending')
    .where(({ exists, selectFrom }) =>
      exists(
        selectFrom('replays')
          .select('id')
          .where('id', '=', taken.replay_id)
          .where('state', 'in', ['queued', 'running']),
      ),
    )
    .execute()
}

async function giveBack({ db }: Runtime, taken: Taken): Promise<void> {
  await db
    .updateTable('replay_runs')
    .set({ lease_until: null, attempts: taken.attempts - 1 })
    .where('replay_id', '=', taken.replay_id)
    .where('ordinal', '=', taken.ordinal)
    .where('attempts', '=', taken.attempts)
    .where('state', '=', 'pending')
    .execute()
}

async function closeFinished({ db }: Runtime): Promise<void> {
  await sql`
    update replays p set state = 'finished', finished_at = app_now()
    where p.state in ('queued', 'running')
      and not exists (select from replay_runs r where r.replay_id = p.id and r.state = 'pending')`.execute(db)
}
