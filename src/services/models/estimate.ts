import type { LanguageModelV4CallOptions } from '@ai-sdk/provider'
import { reaches, timesDecimal } from '../../lib/decimal.ts'
import { costOf, type Price } from './cost.ts'

/** Fewer than any tokenizer packs into a token of running text. */
const bytesPerToken = 3
/** Of what is no text: a picture, a short document or recording, and more by its length. */
const tokensPerFile = 3_000
const bytesPerFileToken = 100
/** Where neither the call nor the catalogue bounds the answer. */
const usualOutputTokens = 8_192

/**
 * What a call costs at most, as far as that can be told: the prompt by its length, the longest answer, nothing from the cache.
 * Null where a price is missing.
 */
export function mostItCosts(
  call: Pick<LanguageModelV4CallOptions, 'prompt' | 'tools' | 'responseFormat' | 'maxOutputTokens'>,
  price: Price,
  longestOutput: number | null,
): string | null {
  const input = inputTokens(call)
  const output = call.maxOutputTokens ?? longestOutput ?? usualOutputTokens
  const usage = { input_tokens: input, cached_input_tokens: 0, output_tokens: output, reasoning_tokens: null }
  const { input_usd, cache_write_usd: write, price_limit_tokens: limit } = price
  const dearer = input_usd !== null && write !== null && reaches(write, input_usd) ? write : input_usd
  const cost = costOf(usage, 0, { ...price, input_usd: dearer, price_limit_tokens: null })
  // Providers charge about twice as much for the prompts that the price does not hold for.
  return cost !== null && limit !== null && input > limit ? timesDecimal(cost, 2) : cost
}

function inputTokens({ prompt, tools, responseFormat }: Parameters<typeof mostItCosts>[0]): number {
  let ofFiles = 0
  const text = JSON.stringify([prompt, tools, responseFormat], (_key, value: unknown) => {
    if (!(value instanceof Uint8Array)) return value
    ofFiles += tokensPerFile + Math.ceil(value.length / bytesPerFileToken)
    return undefined
  })
  return ofFiles + Math.ceil(new TextEncoder().encode(text).length / bytesPerToken)
}
