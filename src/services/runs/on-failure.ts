import type { JsonObject } from '../../lib/json.ts'
import type { Flow } from './flow.ts'
import { startOnFailure } from './on-failure-recipe.ts'

const tries = 3
const timeoutMs = 10_000

/**
 * `settings.on_failure`: a line in the server's log, a run of another recipe, a POST to a webhook. It comes before the
 * checkpoint that ends the run, so a crash in between sends it once more under the same Idempotency-Key and never leaves
 * it out. A webhook that does not answer never changes the outcome of the run.
 */
export async function reportFailure(flow: Flow, state: 'failed' | 'timed_out', error: JsonObject): Promise<void> {
  const policy = flow.definition.settings?.on_failure
  if (!policy) return
  if (policy.log) flow.ctx.log.error('A run has failed.', { recipe_id: flow.run.recipe_id, state, failure: error })
  const report = reportOf(flow, state, error)
  // By the input of the failed run, too: who gets it may have to do its work in another way.
  if (policy.recipe !== undefined)
    await startOnFailure(flow, policy.recipe, {
      ...report,
      execution: { ...report.execution, input: flow.run.input },
    })
  if (!policy.webhook) return
  // By state: a run that failed, was cut off and then ran out of time sends two notices, each under a key of its own.
  const path = `~on_failure_${state}`
  const key = `${flow.run.generation}/${path}/0.0`
  if ((await flow.recordedCalls(path)).get(key)?.result !== undefined) return
  const body = JSON.stringify(report)
  for (let attempt = 1; attempt <= tries; attempt++) {
    await flow.confirmLease()
    try {
      const response = await flow.runtime.egress(
        new Request(policy.webhook.url, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'idempotency-key': `${flow.run.id}/${key}` },
          body,
        }),
        {
          workspaceId: flow.run.workspace_id,
          timeoutMs,
          ...(policy.webhook.auth ? { credential: policy.webhook.auth.credential } : {}),
        },
      )
      await response.body?.cancel()
      if (response.ok) {
        flow.writer.call({ key, kind: 'http', request_hash: null, result: { status: response.status } })
        return
      }
      if (attempt === tries) flow.log('warn', `The failure webhook answered ${response.status}.`)
    } catch (failure) {
      if (attempt === tries)
        flow.log('warn', `The failure webhook could not be reached: ${failure instanceof Error ? failure.message : ''}`)
    }
    if (attempt < tries) await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** (attempt - 1)))
  }
}

/** What is told of a failed run. */
function reportOf(flow: Flow, state: 'failed' | 'timed_out', error: JsonObject) {
  return {
    event: `execution.${state}`,
    execution: {
      id: flow.run.id,
      recipe_id: flow.run.recipe_id,
      recipe_version: flow.run.recipe_version,
      recipe: flow.definition.name,
      status: state,
      trigger: flow.run.trigger,
      error,
      started_at: flow.run.started_at.toISOString(),
    },
  }
}
