import type { ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { entityTag } from '../../lib/etag.ts'
import type { Json } from '../../lib/json.ts'
import { isListKey, PagedList } from '../runs/paged-list.ts'
import { spilledKey } from '../runs/spill.ts'
import { checkedId, executionNotFound } from './find.ts'

export interface ExecutionOutput {
  /** A text is itself; what was stored apart comes as the JSON text that it was stored as, `size` bytes of it. */
  content: { text: string } | { json: Json } | { stream: () => ReadableStream<Uint8Array>; size: number }
  etag: string
}

type Context = Pick<ServiceContext, 'db' | 'blobs' | 'actor'>

const quote = 0x22

/**
 * What a run gave, or one of its steps, whole, wherever it is kept. Throws `conflict` while there is none, or where there
 * will be none.
 */
export async function readOutput(ctx: Context, id: string, step?: string): Promise<ExecutionOutput> {
  const { owner, output } = await (step === undefined ? outputOfRun(ctx, id) : outputOfStep(ctx, id, step))
  const etag = entityTag({ id: id.toLowerCase(), ...(step !== undefined && { step }), output })
  if (typeof output === 'string') return { content: { text: output }, etag }
  const key = spilledKey(ctx.actor.workspaceId, output)
  if (key === null) return { content: { json: output }, etag }
  const gone = () => new AppError('not-found', `The stored output of ${owner} is gone.`)
  if (isListKey(key)) {
    const list = await PagedList.open(ctx.blobs, key)
    if (!list) throw gone()
    return { content: { stream: () => list.stream(), size: list.size }, etag }
  }
  const bytes = await ctx.blobs.get(key)
  if (!bytes) throw gone()
  if (bytes[0] === quote) return { content: { text: JSON.parse(new TextDecoder().decode(bytes)) as string }, etag }
  return { content: { stream: () => new Blob([bytes as BufferSource]).stream(), size: bytes.length }, etag }
}

async function outputOfRun({ db, actor }: Context, id: string) {
  const run = await db
    .selectFrom('runs')
    .select(['state', 'output'])
    .where('workspace_id', '=', actor.workspaceId)
    .where('id', '=', checkedId(id))
    .executeTakeFirst()
  if (!run) throw executionNotFound(id)
  if (run.state !== 'succeeded') throw new AppError('conflict', `Execution ${id} has no output: it is ${run.state}.`)
  return { owner: `execution ${id}`, output: run.output }
}

async function outputOfStep({ db, actor }: Context, id: string, path: string) {
  const step = await db
    .selectFrom('run_steps as s')
    .innerJoin('runs as r', 'r.id', 's.run_id')
    .select(['s.status', 's.output'])
    .where('r.workspace_id', '=', actor.workspaceId)
    .where('r.id', '=', checkedId(id))
    .where('s.path', '=', path)
    .executeTakeFirst()
  if (!step) throw new AppError('not-found', `Execution ${id} does not exist, or has not come to this step.`)
  if (step.status !== 'succeeded') throw new AppError('conflict', `The step has no output: it is ${step.status}.`)
  return { owner: `the step ${path}`, output: step.output }
}
