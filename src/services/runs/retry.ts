import { sql, type Kysely, type Transaction } from 'kysely'
import type { Database } from '../../db/database.ts'
import { jsonb, toJsonText } from '../../db/json.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import type { JsonObject } from '../../lib/json.ts'
import type { RecipeDefinition } from '../recipes/definition.ts'
import { cancelOpenChildren, type Cancellation } from './children.ts'
import { reopenFailed, type StepOutline } from './reopen.ts'

export type RetryOutcome =
  | { kind: 'retried'; generation: number; below: Cancellation }
  /** Only what failed or ran out of time can be retried. */
  | { kind: 'refused'; state: RunState }
  /** A run of another run's step is retried with that one. */
  | { kind: 'child'; parent: string }
  | { kind: 'unknown' }

/** Paths that the event of a retry names. */
const mostNamed = 100

/**
 * Begins the next generation of a failed run: what succeeded is kept, what failed or was cut off is done again, under
 * idempotency keys of its own and with a new time limit. Runs that the generation before has left behind are canceled. Call
 * `wake.runReady` and `tellOf` after the commit.
 */
export async function requestRetry(tx: Transaction<Database>, runId: string): Promise<RetryOutcome> {
  // Whoever gives an event locks the wait before the run.
  await sql`select from event_waits where run_id = ${runId} order by path, generation for update`.execute(tx)
  const run = await tx
    .selectFrom('runs')
    .select(['state', 'error', 'definition', 'recipe_id', 'recipe_version', 'parent_run_id', 'generation'])
    .where('id', '=', runId)
    .forUpdate()
    .executeTakeFirst()
  if (!run) return { kind: 'unknown' }
  if (run.state !== 'failed' && run.state !== 'timed_out') return { kind: 'refused', state: run.state }
  if (run.parent_run_id !== null) return { kind: 'child', parent: run.parent_run_id }
  const definition = await definitionOf(tx, run)
  const { again, enter } = reopenFailed(await outlineSteps(tx, runId), definition, failedStepOf(run))
  const below = await cancelOpenChildren(tx, runId, 'The run that started it is retried.')
  await giveBackEvents(tx, runId, again)
  const named = again.slice(0, mostNamed)
  await sql`
    with undone as (
      delete from run_steps where run_id = ${runId}
        and path in (select jsonb_array_elements_text(${toJsonText(again)}::text::jsonb))
    ), entered as (
      update run_steps set status = 'pending', output = null, error = null, wake_at = null, finished_at = null
      where run_id = ${runId} and path in (select jsonb_array_elements_text(${toJsonText(enter)}::text::jsonb))
    ), retried as (
      update runs set state = 'queued', generation = generation + 1, fence = fence + 1, rev = rev + 1,
        last_seq = last_seq + 1, output = null, error = null, finished_at = null, deadline_at = null, recoveries = 0,
        pending_commands = 0
      where id = ${runId} returning id, workspace_id, priority, last_seq, generation
    ), over as (
      -- A command that was left while its end was being written: it was for the generation before.
      update run_inbox set applied_at = app_now() where run_id = ${runId} and applied_at is null
    ), queued as (
      insert into run_queue (run_id, workspace_id, priority) select id, workspace_id, priority from retried
    )
    insert into run_events (run_id, seq, type, data)
    select id, last_seq, 'execution.retried', jsonb_build_object('generation', generation, 'steps', ${jsonb(named)})
    from retried`.execute(tx)
  return { kind: 'retried', generation: run.generation + 1, below }
}

/** What was delivered to steps that are done again, and that they never made anything of, is there for them to take again. */
async function giveBackEvents(tx: Transaction<Database>, runId: string, again: readonly string[]): Promise<void> {
  await sql`
    with gone as (
      delete from event_waits where run_id = ${runId}
        and path in (select jsonb_array_elements_text(${toJsonText([...again])}::text::jsonb))
      returning event_id
    )
    update inbound_events set taken_at = null
    where run_id = ${runId} and id in (select event_id from gone)`.execute(tx)
}

/** The definition that a run is pinned to. */
export async function definitionOf(
  db: Kysely<Database>,
  run: { definition: object | null; recipe_id: string | null; recipe_version: number | null },
): Promise<RecipeDefinition> {
  if (run.definition) return run.definition as RecipeDefinition
  const version = await db
    .selectFrom('recipe_versions')
    .select('definition')
    .where('recipe_id', '=', run.recipe_id)
    .where('version', '=', run.recipe_version)
    .executeTakeFirstOrThrow()
  return version.definition as unknown as RecipeDefinition
}

/** The path that a run's error names. */
export function failedStepOf({ error }: { error: JsonObject | null }): string | null {
  const step = error?.['step']
  return typeof step === 'string' ? step : null
}

export async function outlineSteps(db: Kysely<Database>, runId: string): Promise<StepOutline[]> {
  const rows = await db
    .selectFrom('run_steps')
    .select(['path', 'kind', 'status', 'ordinal'])
    .select(sql<string | null>`error ->> 'kind'`.as('errorKind'))
    .select(sql<string | null>`error ->> 'step'`.as('errorStep'))
    .select(sql<boolean>`state -> 'case' is not null or state -> 'items' is not null`.as('settled'))
    .where('run_id', '=', runId)
    .execute()
  return rows.map(({ settled, ...row }) => ({ ...row, isSettled: settled === true }))
}
