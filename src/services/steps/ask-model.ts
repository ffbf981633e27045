import { DatabaseAway } from '../../lib/database-away.ts'
import { AppError } from '../../lib/errors.ts'
import type { Json } from '../../lib/json.ts'
import { BudgetRefusal } from '../budgets/hold.ts'
import { askModel } from '../models/ask.ts'
import { ModelError } from '../models/errors.ts'
import type { ModelAnswer, ModelRequest } from '../models/types.ts'
import { withOpenFiles } from './attachments.ts'
import { StepBlocked, StepError, type StepContext } from '../runs/step-executor.ts'

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
          ...(context.charge && { charge: context.charge(key, options.agentId) }),
          onText: (delta) => context.text(delta),
          onUsage: (usage) => context.usage(usage, options.agentId),
        }),
      )
      // An answer is JSON throughout; an interface only cannot say so.
      return answer as Recorded
    } catch (error) {
      throw error instanceof BudgetRefusal ? blocked(error, context) : asStepError(error)
    }
  }
  return context.effect<Recorded>(key, 'model', request as unknown as Json, ask, { final: options.final })
}

/** What never passes by itself fails the step. */
function blocked(error: BudgetRefusal, context: StepContext): StepError {
  const { reason, until } = error.refusal
  if (reason === 'price_unknown' || reason === 'cost_unknown')
    return new StepError('price_unknown', error.message, { retryable: false })
  const passes = until !== null || reason === 'busy'
  return passes && context.waitsForBudget
    ? new StepBlocked(error)
    : new StepError('budget_exceeded', error.message, { retryable: false })
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
