import { addDecimals } from '../../lib/decimal.ts'
import type { ModelAnswer } from './types.ts'

/** US dollars per million tokens, exact decimal texts; null = not known. */
export interface Price {
  input_usd: string | null
  cached_input_usd: string | null
  cache_write_usd: string | null
  output_usd: string | null
  /** Up to how long a prompt the prices hold; null = any. */
  price_limit_tokens: number | null
}

/** Six places: prices are per million tokens. */
const perMillion = 6

/** The exact cost of a call. Null when any count or price that it needs is not known: a guess would look like a fact. */
export function costOf(usage: ModelAnswer['usage'], cacheWriteTokens: number, price: Price | null): string | null {
  if (price === null || usage.input_tokens === null || usage.output_tokens === null) return null
  if (price.price_limit_tokens !== null && usage.input_tokens > price.price_limit_tokens) return null
  const cached = usage.cached_input_tokens ?? 0
  const parts = [
    costOfTokens(usage.input_tokens - cached - cacheWriteTokens, price.input_usd),
    costOfTokens(cached, price.cached_input_usd),
    costOfTokens(cacheWriteTokens, price.cache_write_usd),
    costOfTokens(usage.output_tokens, price.output_usd),
  ]
  return parts.reduce((sum, part) => (sum === null || part === null ? null : addDecimals(sum, part)), '0')
}

/** No tokens cost nothing, also at a price that is not known. */
function costOfTokens(tokens: number, price: string | null): string | null {
  if (tokens === 0) return '0'
  const match = price === null || tokens < 0 ? null : /^(\d+)(?:\.(\d+))?$/.exec(price)
  if (!match) return null
  const fraction = match[2] ?? ''
  const digits = (BigInt(match[1]! + fraction) * BigInt(tokens)).toString()
  const places = fraction.length + perMillion
  const padded = digits.padStart(places + 1, '0')
  return `${padded.slice(0, -places)}.${padded.slice(-places)}`
}

/** The plain decimal text of a number that came as JSON: `1e-7` is `0.0000001`. Null for what is no amount of money. */
export function decimalOf(value: unknown): string | null {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) return null
  const match = /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value))
  if (!match) return null
  const fraction = match[2] ?? ''
  const exponent = Number(match[3] ?? 0)
  const digits = match[1]! + fraction
  const places = fraction.length - exponent
  if (places <= 0) return digits + '0'.repeat(-places)
  const padded = digits.padStart(places + 1, '0')
  return `${padded.slice(0, -places)}.${padded.slice(-places)}`
}
