import type { ServiceContext } from '../context.ts'
import { ModelError, modelProblem } from './models/errors.ts'
import { findProvider, offlineProvider } from './models/providers.ts'
import { resolveModel, type ResolvedModel } from './models/resolve.ts'

export { listModels } from './models/catalogue.ts'
export { testModel } from './models/test-model.ts'

export interface DefaultModel {
  provider: string
  model: string
  source: ResolvedModel['source']
  reason: string
  /** False: the choice is made, but this server has no access to that provider. */
  available: boolean
  simulated: boolean
}

/** What answers where neither step nor agent names a model, and why. */
export async function defaultModel(ctx: Pick<ServiceContext, 'db' | 'config' | 'actor'>): Promise<DefaultModel> {
  try {
    const { choice, source, reason } = await resolveModel(ctx, null)
    const simulated = choice.provider === offlineProvider
    const offlineAllowed = ctx.config.environment !== 'production' || ctx.config.allowOfflineModel
    const reachable =
      choice.base_url !== undefined || (findProvider(choice.provider)?.connection(ctx.config) ?? null) !== null
    const available = simulated ? offlineAllowed : reachable
    return { provider: choice.provider, model: choice.model, source, reason, available, simulated }
  } catch (error) {
    throw error instanceof ModelError ? modelProblem(error) : error
  }
}
