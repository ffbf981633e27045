import type { ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { BudgetRefusal } from '../budgets/hold.ts'
import { budgetProblem } from '../budgets/refuse.ts'
import { askModel } from './ask.ts'
import { faultsOfChoice } from './choice.ts'
import { ModelError, modelProblem } from './errors.ts'
import { findProvider, offlineModel, offlineProvider } from './providers.ts'
import type { ModelAnswer, ModelChoice, ModelUsage } from './types.ts'
import { recordUsage } from './usage.ts'

const testPrompt = 'Answer with the single word: ready'
/** Room for models that think before they answer. */
const testOutputTokens = 1000

export type ModelTest = Omit<ModelAnswer, 'tool_calls' | 'continuation'>

/** One short real call, so that a key, a model name or a URL is known to work before anything relies on it. */
export async function testModel(
  ctx: ServiceContext,
  input: { provider?: string | undefined; model?: string | undefined },
  signal?: AbortSignal,
): Promise<ModelTest> {
  const choice = choiceOf(input)
  const used: ModelUsage[] = []
  try {
    const request = {
      choice,
      system: null,
      messages: [{ role: 'user' as const, text: testPrompt }],
      tools: [],
      max_output_tokens: testOutputTokens,
    }
    const onUsage = (usage: ModelUsage) => void used.push(usage)
    const {
      tool_calls: _calls,
      continuation: _continuation,
      ...answer
    } = await askModel(ctx, request, {
      onUsage,
      ...(signal && { signal }),
    })
    return answer
  } catch (error) {
    if (error instanceof BudgetRefusal) throw budgetProblem(ctx, error)
    throw error instanceof ModelError ? modelProblem(error) : error
  } finally {
    for (const usage of used) await recordUsage(ctx, usage)
  }
}

/** Null asks whatever is the default now. */
function choiceOf({
  provider,
  model,
}: {
  provider?: string | undefined
  model?: string | undefined
}): ModelChoice | null {
  if (provider === undefined && model === undefined) return null
  const known = model ?? (provider === offlineProvider ? offlineModel : findProvider(provider ?? '')?.defaultModel)
  const choice = { provider: provider ?? '', model: known ?? '' }
  const errors =
    provider === undefined
      ? [{ pointer: '/provider', detail: 'must be given with a model' }]
      : faultsOfChoice(choice, '')
  if (errors.length === 0 && !known) {
    errors.push({ pointer: '/model', detail: `must be given: provider ${provider} has no default model` })
  }
  if (errors.length > 0) throw new AppError('invalid', 'The model cannot be asked like this.', { errors })
  return choice
}
