import type { ServiceContext } from '../context.ts'
import { reply, type Reply, type ResponseSpec } from '../lib/operation.ts'
import { waitAskedFor } from '../lib/prefer.ts'
import { getExecution, waitForEnd } from '../services/executions.service.ts'
import { executionExample, executionSchema } from './executions.schemas.ts'

export const endedInTime: ResponseSpec = {
  description:
    'The execution, which ended within the time that `Prefer: wait` allows. It may have failed: see `status`.',
  schema: executionSchema,
  headers: { Location: 'Where the execution is.', 'Preference-Applied': 'The wait that was granted.' },
  example: executionExample,
}

/** 202 with a run that was started, or 200 with all of it where the caller prefers to wait and it ends in time. */
export async function answerStarted(
  ctx: ServiceContext,
  { replayed, ...started }: { id: string; replayed?: boolean },
  prefer: string | undefined,
  request: Request,
): Promise<Reply> {
  const headers = {
    location: `/api/executions/${started.id}`,
    ...(replayed && { 'idempotency-replayed': 'true' }),
  }
  const seconds = waitAskedFor(prefer)
  if (seconds === null || !(await waitForEnd(ctx, started.id, seconds, request.signal)))
    return reply(202, started, headers)
  return reply(200, await getExecution(ctx, started.id), { ...headers, 'preference-applied': `wait=${seconds}` })
}
