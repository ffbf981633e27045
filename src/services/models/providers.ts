import type { LanguageModelV4 } from '@ai-sdk/provider'
import type { Config } from '../../config.ts'
import type { Secret } from '../../lib/secret.ts'
import type { JsonObject } from '../../lib/json.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { decimalOf } from './cost.ts'

/** Where a provider is reached and with which key. */
export interface Connection {
  baseUrl: string | null
  apiKey: string | null
  fetch?: typeof globalThis.fetch
}

export interface Provider {
  id: string
  name: string
  /** Asked where only the provider is named; null = a model must be named. */
  defaultModel: string | null
  /** The settings that make it available, for people. */
  requires: string
  /** Media types of the files that its models take, beside text. */
  takes: RegExp
  /** Null where the platform has no access to it. */
  connection(config: Config): Connection | null
  /** Where it is reached; null where that is for whoever has the key to say. */
  baseUrl(config: Config): string | null
  /** A call that costs nothing and that only a good key passes. */
  probe(apiKey: string): { path: string; headers: Record<string, string> }
  /**
   * Opens a model. The package is loaded only when it is used, and of it the one class that speaks the provider's wire format:
   * with its factory come image, speech, batch and a dozen other models, a tenth of the Worker. Its name stands in a module of
   * its own (`wire/`), because bundlers leave out what such a module does not name, and nothing of what is imported later.
   */
  open(connection: Connection, model: string): Promise<LanguageModelV4>
  options?: Record<string, JsonObject>
  /** Dollars that the provider itself says it charged, as decimal text. */
  reportedCost?(rawUsage: Record<string, unknown>): string | null
}

const keyed = (key: Secret | null, baseUrl: string): Connection | null =>
  key === null ? null : { apiKey: key.reveal(), baseUrl }
const asBearer = (path: string) => (apiKey: string) => ({ path, headers: { authorization: `Bearer ${apiKey}` } })
const baseUrls = {
  openai: (config: Config) => config.openaiBaseUrl ?? 'https://api.openai.com/v1',
  anthropic: (config: Config) => config.anthropicBaseUrl ?? 'https://api.anthropic.com/v1',
  google: (config: Config) => config.googleBaseUrl ?? 'https://generativelanguage.googleapis.com/v1beta',
  openrouter: (config: Config) => config.openrouterBaseUrl ?? 'https://openrouter.ai/api/v1',
}

const images = 'image\\/(png|jpeg|webp|gif)'
const imagesAndPdf = new RegExp(`^(${images}|application\\/pdf)$`)
/** What an OpenAI-compatible request has a form for. */
const compatible = new RegExp(`^(${images}|application\\/pdf|audio\\/(wav|mp3|mpeg))$`)

/** In the order in which the first one with a key becomes the default. */
export const providers: readonly Provider[] = [
  {
    id: 'openai',
    name: 'OpenAI',
    defaultModel: 'gpt-6.1-terra',
    requires: 'OPENAI_API_KEY',
    takes: imagesAndPdf,
    connection: (config) => keyed(config.openaiApiKey, baseUrls.openai(config)),
    baseUrl: baseUrls.openai,
    probe: asBearer('/models'),
    async open(connection, model) {
      const { OpenAIResponsesLanguageModel } = await import('./wire/openai.ts')
      const { baseURL, apiKey, fetch } = settingsOf(connection)
      return new OpenAIResponsesLanguageModel(model, {
        provider: 'openai.responses',
        url: ({ path }) => `${baseURL}${path}`,
        headers: () => ({ authorization: `Bearer ${apiKey}` }),
        fileIdPrefixes: ['file-'],
        fetch,
      })
    },
    // Prompts of tenants are not kept at the provider. Schemas of tenants seldom meet the strict mode's rules.
    options: { openai: { store: false, strictJsonSchema: false } },
  },
  {
    id: 'anthropic',
    name: 'Anthropic',
    defaultModel: 'claude-sonnet-5-5',
    requires: 'ANTHROPIC_API_KEY',
    takes: imagesAndPdf,
    connection: (config) => keyed(config.anthropicApiKey, baseUrls.anthropic(config)),
    baseUrl: baseUrls.anthropic,
    probe: (apiKey) => ({
      path: '/models?limit=1',
      headers: { 'anthropic-version': '2023-06-01', 'x-api-key': apiKey },
    }),
    async open(connection, model) {
      const { AnthropicLanguageModel } = await import('./wire/anthropic.ts')
      const { baseURL, apiKey, fetch } = settingsOf(connection)
      return new AnthropicLanguageModel(model, {
        provider: 'anthropic.messages',
        baseURL: baseURL === 'https://api.anthropic.com' ? `${baseURL}/v1` : baseURL,
        headers: () => ({ 'anthropic-version': '2023-06-01', 'x-api-key': apiKey }),
        fetch,
      })
    },
  },
  {
    id: 'google',
    name: 'Google Gemini',
    defaultModel: 'gemini-3.8-flash',
    requires: 'GOOGLE_API_KEY',
    takes: /^(image\/(png|jpeg|webp|heic|heif)|application\/pdf|audio\/[\w.+-]+|video\/[\w.+-]+)$/,
    connection: (config) => keyed(config.googleApiKey, baseUrls.google(config)),
    baseUrl: baseUrls.google,
    probe: (apiKey) => ({ path: '/models?pageSize=1', headers: { 'x-goog-api-key': apiKey } }),
    async open(connection, model) {
      const { GoogleLanguageModel } = await import('./wire/google.ts')
      const { baseURL, apiKey, fetch } = settingsOf(connection)
      return new GoogleLanguageModel(model, {
        provider: 'google.generative-ai',
        baseURL,
        headers: () => ({ 'x-goog-api-key': apiKey }),
        generateId: uuidv7,
        fetch,
      })
    },
  },
  {
    id: 'openrouter',
    name: 'OpenRouter',
    defaultModel: 'openrouter/auto',
    requires: 'OPENROUTER_API_KEY',
    takes: compatible,
    connection: (config) => keyed(config.openrouterApiKey, baseUrls.openrouter(config)),
    baseUrl: baseUrls.openrouter,
    // Its list of models is open to everybody.
    probe: asBearer('/key'),
    open: (connection, model) => openCompatible('openrouter', connection, model),
    reportedCost: (usage) => decimalOf(usage['cost']),
  },
  {
    id: 'openai-compatible',
    name: 'OpenAI-compatible server',
    defaultModel: null,
    requires: 'OPENAI_COMPATIBLE_BASE_URL (or base_url in the choice of the model)',
    takes: compatible,
    connection: (config) =>
      config.openaiCompatibleBaseUrl === null
        ? null
        : { baseUrl: config.openaiCompatibleBaseUrl, apiKey: config.openaiCompatibleApiKey?.reveal() ?? null },
    baseUrl: () => null,
    probe: asBearer('/models'),
    open: (connection, model) => openCompatible('compatible', connection, model),
  },
]

export const findProvider = (id: string): Provider | undefined => providers.find((provider) => provider.id === id)

/** The built-in simulated model, as a choice names it. */
export const offlineProvider = 'offline'
export const offlineModel = 'offline'
export const providerIds: readonly string[] = [...providers.map((provider) => provider.id), offlineProvider]

const settingsOf = ({ baseUrl, apiKey, fetch }: Connection) => ({
  baseURL: (baseUrl ?? '').replace(/\/$/, ''),
  apiKey: apiKey ?? '',
  fetch,
})

async function openCompatible(name: string, connection: Connection, model: string): Promise<LanguageModelV4> {
  const { createOpenAICompatible } = await import('@ai-sdk/openai-compatible')
  return createOpenAICompatible({
    name,
    baseURL: connection.baseUrl ?? '',
    includeUsage: true,
    ...(connection.apiKey !== null && { apiKey: connection.apiKey }),
    ...(connection.fetch && { fetch: connection.fetch }),
  })(model)
}
