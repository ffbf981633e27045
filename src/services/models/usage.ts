import type { ServiceContext } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { ModelUsage } from './types.ts'

/** Counts a call for `/metrics`, whoever writes its row. */
export function countCall({ measures }: Pick<ServiceContext, 'measures'>, usage: ModelUsage): void {
  if (!measures) return
  const { provider, model } = usage
  measures.modelCalls.add(1, provider, model, usage.status)
  if (usage.latency_ms !== null) measures.modelDuration.observe(usage.latency_ms / 1000, provider, model)
  const tokens = {
    input: usage.input_tokens,
    cached_input: usage.cached_input_tokens,
    output: usage.output_tokens,
    reasoning: usage.reasoning_tokens,
  }
  for (const [type, count] of Object.entries(tokens)) {
    if (count !== null) measures.modelTokens.add(count, provider, model, type)
  }
  if (usage.cost_usd === null) measures.modelUnpriced.add(1, provider, model)
  else measures.modelCost.add(Number(usage.cost_usd), provider, model)
}

/** Writes the row of a call that was made outside a run; runs write theirs with their checkpoints. */
export async function recordUsage(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  usage: ModelUsage,
): Promise<void> {
  await db
    .insertInto('model_usage')
    .values({
      ...usage,
      id: uuidv7(),
      workspace_id: actor.workspaceId,
      price: usage.price && jsonb(usage.price),
      key_id: actor.kind === 'key' ? actor.id : null,
      agent_id: null,
      run_id: null,
      step_path: null,
    })
    .execute()
}
