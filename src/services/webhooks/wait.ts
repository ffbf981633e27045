import type { ServiceContext } from '../../context.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { waitForEnd } from '../executions.service.ts'

export interface WebhookRunEnd {
  status: RunState
  output: Json
  error: JsonObject | null
}

/** What a sender that waits is told: how its run ended and what it gave, nothing of how. Null: not in time. */
export async function waitForWebhookRun(
  ctx: ServiceContext,
  runId: string,
  seconds: number,
  signal: AbortSignal,
): Promise<WebhookRunEnd | null> {
  if (!(await waitForEnd(ctx, runId, seconds, signal))) return null
  const run = await ctx.db
    .selectFrom('runs')
    .select(['state', 'output', 'error'])
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('id', '=', runId)
    .executeTakeFirst()
  return run ? { status: run.state, output: run.output, error: run.error } : null
}
