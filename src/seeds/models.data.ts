export interface SeedModel {
  provider: string
  model: string
  name: string
  context_window: number | null
  max_output_tokens: number | null
  capabilities: string[]
  input_usd: string | null
  cached_input_usd: string | null
  cache_write_usd: string | null
  output_usd: string | null
  price_limit_tokens: number | null
}

/** Dollars per million tokens: input, input from the cache, output, input written to the cache. */
type Prices = [input: string, cached: string | null, output: string, cacheWrite?: string]
interface About {
  context?: number
  output?: number
  /** Prompts above it cost more than the prices say. */
  limit?: number
}

const entry =
  (provider: string) =>
  (model: string, name: string, prices: Prices | null, about: About = {}): SeedModel => ({
    provider,
    model,
    name,
    context_window: about.context ?? null,
    max_output_tokens: about.output ?? null,
    capabilities: ['text', 'tools'],
    input_usd: prices?.[0] ?? null,
    cached_input_usd: prices?.[1] ?? null,
    cache_write_usd: prices?.[3] ?? null,
    output_usd: prices?.[2] ?? null,
    price_limit_tokens: about.limit ?? null,
  })
const openai = entry('openai')
const anthropic = entry('anthropic')
const google = entry('google')
const openrouter = entry('openrouter')

const openaiLimit = { limit: 272_000 }
const claude = { context: 1_000_000, output: 128_000 }
const gemini = { context: 1_048_576, output: 65_536 }

/** List prices for standard requests as the providers published them until November 2026; what is not certain is null. */
export const seedModels: readonly SeedModel[] = [
  openai('gpt-6-astra', 'GPT-6 Astra', ['10', '1', '50'], openaiLimit),
  openai('gpt-6.1-sol', 'GPT-6.1 Sol', ['2', '0.10', '10'], openaiLimit),
  openai('gpt-6.1-terra', 'GPT-6.1 Terra', ['1', '0.05', '5', '1.25'], {
    context: 1_050_000,
    output: 128_000,
    ...openaiLimit,
  }),
  openai('gpt-6-luna', 'GPT-6 Luna', ['0.10', '0.01', '0.50', '0.125'], openaiLimit),
  openai('gpt-5.6-sol', 'GPT-5.6 Sol', ['5', '0.50', '30'], openaiLimit),
  openai('gpt-5.6-terra', 'GPT-5.6 Terra', ['2', '0.20', '12'], openaiLimit),
  openai('gpt-5.6-luna', 'GPT-5.6 Luna', ['0.20', '0.02', '1.20'], openaiLimit),
  openai('gpt-5.5', 'GPT-5.5', ['5', '0.50', '30'], openaiLimit),
  openai('gpt-5.4', 'GPT-5.4', ['2.50', '0.25', '15'], openaiLimit),
  openai('gpt-5.4-mini', 'GPT-5.4 mini', ['0.75', '0.075', '4.50'], { context: 400_000, ...openaiLimit }),
  openai('gpt-5.4-nano', 'GPT-5.4 nano', ['0.20', '0.02', '1.25'], openaiLimit),

  anthropic('claude-fable-5-1', 'Claude Fable 5.1', ['10', '0.25', '50'], claude),
  anthropic('claude-opus-5-5', 'Claude Opus 5.5', ['4', '0.20', '20', '5'], claude),
  anthropic('claude-sonnet-5-5', 'Claude Sonnet 5.5', ['2', '0.10', '10'], claude),
  anthropic('claude-haiku-5-5', 'Claude Haiku 5.5', ['0.10', '0.01', '0.50'], { ...claude, limit: 100_000 }),
  anthropic('claude-opus-5', 'Claude Opus 5', ['5', '0.50', '25', '6.25'], claude),
  anthropic('claude-sonnet-5', 'Claude Sonnet 5', ['2', '0.20', '10'], claude),
  anthropic('claude-opus-4-8', 'Claude Opus 4.8', ['5', '0.50', '25'], claude),
  anthropic('claude-sonnet-4-6', 'Claude Sonnet 4.6', ['3', '0.30', '15']),
  anthropic('claude-haiku-4-5', 'Claude Haiku 4.5', ['1', '0.10', '5', '1.25'], { context: 200_000, output: 64_000 }),

  // Its present price is a promotion with an end, so a price stored here would become wrong by itself.
  google('gemini-3.8-flash', 'Gemini 3.8 Flash', null, gemini),
  google('gemini-3.5-flash', 'Gemini 3.5 Flash', ['1.50', null, '9']),
  google('gemini-3.1-pro-preview', 'Gemini 3.1 Pro (preview)', ['2', null, '12'], { limit: 200_000 }),
  google('gemini-2.5-pro', 'Gemini 2.5 Pro', ['1.25', '0.125', '10'], { ...gemini, limit: 200_000 }),
  google('gemini-2.5-flash', 'Gemini 2.5 Flash', ['0.30', '0.03', '2.50'], gemini),
  google('gemini-2.5-flash-lite', 'Gemini 2.5 Flash-Lite', ['0.10', '0.01', '0.40'], gemini),

  // OpenRouter says with each answer what it charged, so no price is needed.
  openrouter('openrouter/auto', 'OpenRouter: chooses a model', null),
  openrouter('openai/gpt-6.1-terra', 'OpenRouter: GPT-6.1 Terra', null),
  openrouter('anthropic/claude-sonnet-5.5', 'OpenRouter: Claude Sonnet 5.5', null),
  openrouter('google/gemini-3.8-flash', 'OpenRouter: Gemini 3.8 Flash', null),
]
