import { sql } from 'kysely'
import { AppError } from '../../lib/errors.ts'
import type { JsonObject } from '../../lib/json.ts'
import { loadRecipeForRun } from '../recipes/find.ts'
import { rootOf } from './child-run.ts'
import type { Flow } from './flow.ts'
import { RunLost } from './run-writer.ts'
import { startRun } from './start-run.ts'

/**
 * `settings.on_failure.recipe`: a run of that recipe, with the failed run as its input. Its idempotency key is the failed run
 * and its generation, so however often this is gone through there is one. A run that came of a failure, itself or by a run
 * above it, starts none: two recipes that handle each other's failures would never end. Whatever goes wrong is in the run's
 * log and never changes its outcome.
 */
export async function startOnFailure(flow: Flow, reference: string, input: JsonObject): Promise<void> {
  const { id, workspace_id, recipe_id, generation } = flow.run
  try {
    if (await flow.read(() => cameOfFailure(flow))) {
      flow.log('warn', 'No recipe is started on failure: this run was started on one itself.')
      return
    }
    const recipe = await flow.read(() => loadRecipeForRun(flow.runtime.db, workspace_id, reference))
    if (!recipe) {
      flow.log('warn', `There is no recipe ${reference} to start on failure.`)
      return
    }
    await flow.confirmLease()
    const starting = () =>
      startRun(flow.ctx, {
        definition: recipe.definition,
        recipe: { id: recipe.id, version: recipe.version },
        trigger: { kind: 'on_failure', execution_id: id, recipe_id, generation, root: rootOf(flow.run) },
        input,
        idempotencyKey: `~on_failure/${id}/${generation}`,
      })
    // A refusal is an answer: asked again, it would be the same.
    const started = await flow.read(() =>
      starting().catch((error: unknown) => {
        if (error instanceof AppError) return error
        throw error
      }),
    )
    if (started instanceof AppError) throw started
    flow.log('info', `Recipe ${recipe.slug} was started on failure.`, { execution_id: started.id })
  } catch (error) {
    if (error instanceof RunLost) throw error
    // The key was used: by this very failure, before it was gone through again and looked a little different.
    if (error instanceof AppError && error.kind === 'idempotency-key-reused') return
    const faults = error instanceof AppError ? error.errors?.map(({ pointer, detail }) => `${pointer} ${detail}`) : null
    const detail = error instanceof AppError ? [error.detail, ...(faults ?? [])].join(' ') : 'an unexpected error'
    if (!(error instanceof AppError)) flow.ctx.log.error('The recipe of a failure could not be started.', { error })
    flow.log('warn', `Recipe ${reference} could not be started on failure: ${detail}`)
  }
}

/** Deeper than runs can be nested. */
const maxAncestors = 100

async function cameOfFailure({ run, runtime }: Flow): Promise<boolean> {
  if (run.trigger['kind'] === 'on_failure') return true
  const { rows } = await sql<{ found: boolean }>`
    with recursive above as (
      select id, parent_run_id, trigger, 0 as depth from runs where id = ${run.id}
      union all
      select r.id, r.parent_run_id, r.trigger, above.depth + 1 from above join runs r on r.id = above.parent_run_id
      where above.depth < ${maxAncestors}
    )
    select exists (select from above where trigger ->> 'kind' = 'on_failure') as found`.execute(runtime.db)
  return rows[0]?.found ?? false
}
