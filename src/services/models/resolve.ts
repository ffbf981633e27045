import type { ServiceContext } from '../../context.ts'
import type { JsonObject } from '../../lib/json.ts'
import { ModelError } from './errors.ts'
import { ownProviders } from './own-keys.ts'
import { findProvider, offlineModel, offlineProvider, providers } from './providers.ts'
import type { ModelChoice } from './types.ts'

type Context = Pick<ServiceContext, 'db' | 'config' | 'actor'>

export interface ResolvedModel {
  choice: ModelChoice
  /** What decided. */
  source: 'request' | 'workspace' | 'system_settings' | 'environment' | 'offline'
  reason: string
}

/** Which model answers: request (step, agent), workspace, system settings, environment; see docs/models.md. */
export async function resolveModel(ctx: Context, choice: ModelChoice | null): Promise<ResolvedModel> {
  if (choice !== null) return { choice, source: 'request', reason: 'The step or agent names it.' }
  const workspace = await ctx.db
    .selectFrom('workspaces')
    .select('settings')
    .where('id', '=', ctx.actor.workspaceId)
    .executeTakeFirst()
  const ofWorkspace = toChoice(workspace?.settings['model'])
  if (ofWorkspace) return { choice: ofWorkspace, source: 'workspace', reason: 'The settings of the workspace name it.' }
  return (await fromSystemSettings(ctx)) ?? (await fromOwnKeys(ctx)) ?? fromEnvironment(ctx)
}

async function fromSystemSettings(ctx: Context): Promise<ResolvedModel | null> {
  const rows = await ctx.db
    .selectFrom('system_settings')
    .select(['key', 'value'])
    .where('key', 'in', ['LLM_PROVIDER', 'LLM_MODEL'])
    .execute()
  const text = (key: string) => {
    const value = rows.find((row) => row.key === key)?.value
    return typeof value === 'string' && value !== '' ? value : null
  }
  const [provider, model] = [text('LLM_PROVIDER'), text('LLM_MODEL')]
  if (provider === null && model === null) return null
  const known = provider ?? ctx.config.llmProvider ?? firstConfigured(ctx)
  if (known === null) throw notConfigured('LLM_MODEL is set in the system settings, but no provider is configured.')
  return {
    choice: { provider: known, model: model ?? defaultModelOf(known) },
    source: 'system_settings',
    reason: 'LLM_PROVIDER or LLM_MODEL of the system settings decides.',
  }
}

/** A workspace that brings its own key wants it used, unless the environment names a provider for everybody. */
async function fromOwnKeys(ctx: Context): Promise<ResolvedModel | null> {
  if (ctx.config.llmProvider !== null) return null
  const own = (await ownProviders(ctx)).find((provider) => provider.defaultModel !== null)
  if (!own) return null
  return {
    choice: { provider: own.id, model: own.defaultModel! },
    source: 'workspace',
    reason: 'It is the first provider that the workspace has a key of its own for.',
  }
}

function fromEnvironment(ctx: Context): ResolvedModel {
  const { llmProvider, llmModel, environment } = ctx.config
  if (llmProvider !== null) {
    return {
      choice: { provider: llmProvider, model: llmModel ?? defaultModelOf(llmProvider) },
      source: 'environment',
      reason: 'LLM_PROVIDER of the environment decides.',
    }
  }
  const first = firstConfigured(ctx)
  if (first !== null) {
    return {
      choice: { provider: first, model: llmModel ?? defaultModelOf(first) },
      source: 'environment',
      reason: `It is the first provider that is configured (${findProvider(first)?.requires}).`,
    }
  }
  if (environment === 'production') {
    throw notConfigured('Set LLM_PROVIDER and the key of a provider, for example OPENAI_API_KEY.')
  }
  return {
    choice: { provider: offlineProvider, model: offlineModel },
    source: 'offline',
    reason: `No provider is configured, so the simulated model answers in ${environment}.`,
  }
}

/** The first provider of the table that the environment gives access to and that has a default model. */
function firstConfigured({ config }: Context): string | null {
  const usable = providers.find(
    (provider) => provider.connection(config) !== null && (provider.defaultModel !== null || config.llmModel !== null),
  )
  return usable?.id ?? null
}

function defaultModelOf(provider: string): string {
  if (provider === offlineProvider) return offlineModel
  const model = findProvider(provider)?.defaultModel
  if (!model) throw notConfigured(`LLM_MODEL must name the model of provider '${provider}'.`)
  return model
}

export const notConfigured = (message: string): ModelError => new ModelError('model-not-configured', message)

/** A stored choice; null where none, or none that can be used, is stored. */
export function toChoice(value: unknown): ModelChoice | null {
  if (typeof value !== 'object' || value === null) return null
  const { provider, model } = value as JsonObject
  // Stored choices were validated when they were written; only their presence is checked here.
  return typeof provider === 'string' && typeof model === 'string' ? (value as unknown as ModelChoice) : null
}
