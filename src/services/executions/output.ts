import type { ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { entityTag } from '../../lib/etag.ts'
import type { Json } from '../../lib/json.ts'
import { spilledKey } from '../runs/spill.ts'
import { checkedId, executionNotFound } from './find.ts'

export interface ExecutionOutput {
  /** A text is itself; what was stored apart comes as the JSON text that it was stored as. */
  content: { text: string } | { json: Json } | { jsonBytes: Uint8Array }
  etag: string
}

const quote = 0x22

/** What a run gave, whole, wherever it is kept. Throws `conflict` while there is none, or where there will be none. */
export async function readOutput(
  { db, blobs, actor }: Pick<ServiceContext, 'db' | 'blobs' | 'actor'>,
  id: string,
): Promise<ExecutionOutput> {
  const run = await db
    .selectFrom('runs')
    .select(['id', 'state', 'output'])
    .where('workspace_id', '=', actor.workspaceId)
    .where('id', '=', checkedId(id))
    .executeTakeFirst()
  if (!run) throw executionNotFound(id)
  if (run.state !== 'succeeded') throw new AppError('conflict', `Execution ${id} has no output: it is ${run.state}.`)
  const etag = entityTag({ id: run.id, output: run.output })
  if (typeof run.output === 'string') return { content: { text: run.output }, etag }
  const key = spilledKey(actor.workspaceId, run.output)
  if (key === null) return { content: { json: run.output }, etag }
  const bytes = await blobs.get(key)
  if (!bytes) throw new AppError('not-found', `The stored output of execution ${id} is gone.`)
  if (bytes[0] !== quote) return { content: { jsonBytes: bytes }, etag }
  return { content: { text: JSON.parse(new TextDecoder().decode(bytes)) as string }, etag }
}
