import type { ColumnType, Generated } from 'kysely'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { JsonColumn, NullableJsonColumn } from '../json.ts'

type Created = ColumnType<Date, Date | undefined, never>

/** The catalogue. Prices are US dollars per million tokens, exact decimals; null = not known. */
export interface ModelsTable {
  id: string
  provider: string
  model: string
  name: string
  context_window: number | null
  max_output_tokens: number | null
  capabilities: JsonColumn<string[]>
  input_usd: string | null
  cached_input_usd: string | null
  /** Input tokens that are put into the cache of the provider. */
  cache_write_usd: string | null
  output_usd: string | null
  /** The prices hold for prompts up to this many tokens; a longer one costs more, how much is not known here. Null = always. */
  price_limit_tokens: number | null
  /** Hash of the seeded content; a row whose content no longer matches it was edited and is left alone by seeds. */
  seed_hash: string | null
  created_at: Created
  updated_at: Generated<Date>
}

/** One row a model call, also of one that failed. */
export interface ModelUsageTable {
  id: string
  workspace_id: string
  provider: string
  model: string
  status: 'ok' | 'error' | 'canceled'
  error: string | null
  input_tokens: number | null
  cached_input_tokens: number | null
  output_tokens: number | null
  reasoning_tokens: number | null
  /** Exact decimal; null when a price or a token count is not known. */
  cost_usd: string | null
  price: NullableJsonColumn<JsonObject>
  latency_ms: number | null
  simulated: Generated<boolean>
  key_id: string | null
  agent_id: string | null
  run_id: string | null
  step_path: string | null
  created_at: Created
}

/** Settings that override the environment (`LLM_PROVIDER`, `LLM_MODEL`, …). */
export interface SystemSettingsTable {
  key: string
  value: JsonColumn<Json>
  updated_at: Generated<Date>
  /** `user:<id>` or `key:<id>`; null for what was there before anybody was noted. */
  updated_by: Generated<string | null>
}

export interface SystemPromptsTable {
  slug: string
  name: string
  purpose: string
  content: string
  seed_hash: string | null
  created_at: Created
  updated_at: Generated<Date>
}
