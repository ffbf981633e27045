import type { Json, JsonObject } from '../../lib/json.ts'
import type { Charge } from '../budgets/hold.ts'

/** Which model, and how it is asked. Stored on agents, workspaces and steps; every field but provider and model is optional. */
export interface ModelChoice {
  provider: string
  model: string
  temperature?: number
  max_output_tokens?: number
  top_p?: number
  /** Base URL of an OpenAI-compatible server; goes through the egress guard. */
  base_url?: string
  /** Slug of a stored credential for `base_url`. Keys of the platform are never sent to a URL that a tenant gives. */
  credential?: string
  /** Tried in order on 408, 429, 5xx and timeouts. Never holds `offline`. */
  fallbacks?: { provider: string; model: string; base_url?: string; credential?: string }[]
}

export interface ToolSpec {
  name: string
  description: string
  /** JSON Schema of the arguments. */
  parameters: JsonObject
}

export type ModelMessage =
  | { role: 'user'; text: string; files?: FileReference[] }
  | { role: 'assistant'; text: string; tool_calls: ToolCall[]; continuation?: Continuation }
  | { role: 'tool'; results: { id: string; name: string; result: Json; is_error: boolean }[] }

/**
 * What a provider wants back with the results of its tool calls (signatures, encrypted reasoning). Only that provider
 * can read it; any other gets the plain text and calls.
 */
export interface Continuation {
  provider: string
  parts: Json
}

/** A file of the workspace; its bytes are read when the model is asked. */
export interface FileReference {
  $file: string
  sha256?: string
}

export interface Attachment {
  name: string
  mediaType: string
  bytes: Uint8Array
}

export interface ToolCall {
  id: string
  name: string
  /** Parsed arguments; a text that is not JSON comes as `{"$invalid": "<text>"}`. */
  input: Json
}

export interface ModelRequest {
  /** First match of step, agent; null = workspace setting, then system_settings, then environment. */
  choice: ModelChoice | null
  system: string | null
  messages: ModelMessage[]
  tools: ToolSpec[]
  /** JSON Schema the answer's text must match (structured output). */
  output_schema?: JsonObject
  /** Bounds this round whatever the choice allows: what is left of a budget. */
  max_output_tokens?: number
}

/** What one round produced. JSON, so that it can be recorded and re-used on resume. */
export interface ModelAnswer {
  text: string
  tool_calls: ToolCall[]
  finish_reason: string
  provider: string
  model: string
  usage: {
    input_tokens: number | null
    cached_input_tokens: number | null
    output_tokens: number | null
    reasoning_tokens: number | null
  }
  /** Exact decimal text, null when unknown. */
  cost_usd: string | null
  latency_ms: number
  /** To hand back with the tool results. */
  continuation?: Continuation
  /** Only on answers of the offline model. */
  simulated?: true
}

/** A row for `model_usage`, less the ids of run, step and key that the caller knows. One per call made, failed ones included. */
export interface ModelUsage {
  provider: string
  model: string
  status: 'ok' | 'error' | 'canceled'
  error: string | null
  input_tokens: number | null
  cached_input_tokens: number | null
  output_tokens: number | null
  reasoning_tokens: number | null
  cost_usd: string | null
  price: JsonObject | null
  latency_ms: number | null
  simulated: boolean
}

export interface AskOptions {
  /** The files that the messages name, by id. */
  files?: ReadonlyMap<string, Attachment>
  /** Who pays for every call of the chain; default: the workspace and the key of the actor. */
  charge?: Charge
  signal?: AbortSignal
  /** Text as it arrives. */
  onText?: (delta: string) => void
  /** Called once for every provider call, before `ask` returns or throws. */
  onUsage?: (usage: ModelUsage) => void
}
