import { DatabaseAway } from '../../lib/database-away.ts'
import { AppError } from '../../lib/errors.ts'
import type { Json } from '../../lib/json.ts'
import { askModel } from '../models/ask.ts'
import { ModelError } from '../models/errors.ts'
import type { ModelAnswer, ModelRequest } from '../models/types.ts'
import { withOpenFiles } from './attachments.ts'
import { StepError, type StepContext } from '../runs/step-executor.ts'

/** An answer as a recorded call holds it. */
type Recorded = ModelAnswer & { [key: string]: Json }

/** A model round as an effect of the step: asked once, recorded, re-used when the step resumes. */
export async function modelRound(
  context: StepContext,
  key: string,
  request: ModelRequest,
  options: { agentId: string | null; signal: AbortSignal; final: (answer: ModelAnswer) => boolean },
): Promise<ModelAnswer> {
  const ask = async (): Promise<Recorded> => {
    try {
      const answer = await withOpenFiles(request, context, options.signal, (files) =>
        askModel(context.ctx, request, {
          ...(files.size > 0 && { files }),
          signal: options.signal,
          ...(context.mayAsk && { mayAsk: context.mayAsk }),
          onText: (delta) => context.text(delta),
          onUsage: (usage) => context.usage(usage, options.agentId),
        }),
      )
      // An answer is JSON throughout; an interface only cannot say so.
      return answer as Recorded
    } catch (error) {
      throw asStepError(error)
    }
  }
  return context.effect<Recorded>(key, 'model', request as unknown as Json, ask, { final: options.final })
}

function asStepError(error: unknown): unknown {
  if (error instanceof ModelError) {
    return new StepError(error.kind, error.message, {
      ...(error.status !== null && { status: error.status }),
      retryable: error.retryable,
      ...(error.retryAfterMs !== null && { retryAfterMs: error.retryAfterMs }),
      cause: error,
    })
  }
  if (error instanceof AppError)
    return new StepError(error.kind, error.detail, { retryable: error instanceof DatabaseAway, cause: error })
  return error
}

/** What agent and llm steps give to the steps after them. */
export function stepOutput(answer: ModelAnswer, rounds: number, data?: Json): Json {
  return {
    text: answer.text,
    ...(data !== undefined && { data }),
    model: answer.model,
    provider: answer.provider,
    rounds,
    ...(answer.simulated && { simulated: true }),
  }
}
