import type { ServiceContext } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { ModelUsage } from './types.ts'

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
