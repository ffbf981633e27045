import type { LanguageModelV4StreamPart, LanguageModelV4Usage, SharedV4ProviderMetadata } from '@ai-sdk/provider'
import type { Json } from '../../lib/json.ts'
import { ModelError } from './errors.ts'
import type { ModelAnswer, ToolCall } from './types.ts'

export interface StreamedAnswer {
  text: string
  toolCalls: ToolCall[]
  finishReason: string
  /** The assistant's content parts, where the provider wants them back with the tool results. */
  continuation: Json | null
}

/** What has come in so far; kept outside the reader, so that a call that fails half way is still accounted for. */
export interface StreamProgress {
  usage: ModelAnswer['usage']
  rawUsage: Record<string, unknown> | null
  /** Input tokens that were written to the provider's cache, which may cost extra. */
  cacheWriteTokens: number
  /** The provider has begun to answer: what fails now is an answer that broke off, not a server out of reach. */
  begun: boolean
  /** What the provider says that it is answering with; null where it does not say. */
  responseModel: string | null
  responseId: string | null
  textStarted: boolean
}
export const newProgress = (): StreamProgress => ({
  usage: { input_tokens: null, cached_input_tokens: null, output_tokens: null, reasoning_tokens: null },
  rawUsage: null,
  cacheWriteTokens: 0,
  begun: false,
  responseModel: null,
  responseId: null,
  textStarted: false,
})

type Part =
  | { type: 'text' | 'reasoning'; text: string; providerOptions?: SharedV4ProviderMetadata }
  | {
      type: 'tool-call'
      toolCallId: string
      toolName: string
      input: unknown
      providerOptions?: SharedV4ProviderMetadata
    }

/** Reads one round to its end. An answer without a proper end is an error, never a shorter answer. */
export async function readAnswer(
  stream: ReadableStream<LanguageModelV4StreamPart>,
  who: string,
  options: { signal: AbortSignal; progress: StreamProgress; onText?: ((delta: string) => void) | undefined },
): Promise<StreamedAnswer> {
  const { progress, onText } = options
  const parts: Part[] = []
  const open = new Map<string, Extract<Part, { text: string }>>()
  const calls: ToolCall[] = []
  let text = ''
  let finish: { unified: string; raw: string | undefined } | null = null

  for await (const part of readable(stream, options.signal)) {
    switch (part.type) {
      case 'text-start':
      case 'reasoning-start': {
        const type = part.type === 'text-start' ? 'text' : 'reasoning'
        const opened = { type, text: '', ...withOptions(part.providerMetadata) } as const
        const stored: Extract<Part, { text: string }> = { ...opened }
        open.set(`${type}:${part.id}`, stored)
        parts.push(stored)
        break
      }
      case 'text-delta':
      case 'reasoning-delta': {
        const block = open.get(`${part.type === 'text-delta' ? 'text' : 'reasoning'}:${part.id}`)
        if (block) {
          block.text += part.delta
          if (part.providerMetadata) block.providerOptions = part.providerMetadata
        }
        if (part.type === 'text-delta' && part.delta !== '') {
          text += part.delta
          progress.textStarted = true
          onText?.(part.delta)
        }
        break
      }
      case 'text-end':
      case 'reasoning-end': {
        const block = open.get(`${part.type === 'text-end' ? 'text' : 'reasoning'}:${part.id}`)
        if (block && part.providerMetadata) block.providerOptions = part.providerMetadata
        break
      }
      case 'tool-call': {
        const input = parseInput(part.input)
        calls.push({ id: part.toolCallId, name: part.toolName, input })
        parts.push({
          type: 'tool-call',
          toolCallId: part.toolCallId,
          toolName: part.toolName,
          input,
          ...withOptions(part.providerMetadata),
        })
        break
      }
      case 'response-metadata':
        progress.responseModel = part.modelId ?? progress.responseModel
        progress.responseId = part.id ?? progress.responseId
        break
      case 'error':
        throw part.error
      case 'finish':
        finish = part.finishReason
        account(progress, part.usage)
        break
    }
  }
  if (finish === null || finish.unified === 'interrupted') {
    throw new ModelError('model-malformed', `${who} cut its answer off before the end.`)
  }
  if (finish.unified === 'error')
    throw new ModelError('model-malformed', `${who} sent an answer that could not be read.`)
  if (finish.unified === 'content-filter') {
    throw new ModelError('model-refused', `${who} refused to answer (content filter).`)
  }
  return { text, toolCalls: calls, finishReason: finish.unified, continuation: continuationOf(parts, calls) }
}

/** Reads until the end, the failure or the abort, whichever comes first: a provider's stream need not heed the signal. */
async function* readable<T>(stream: ReadableStream<T>, signal: AbortSignal): AsyncGenerator<T> {
  const reader = stream.getReader()
  let onAbort: () => void = () => {}
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
  })
  aborted.catch(() => {})
  try {
    for (;;) {
      signal.throwIfAborted()
      const { done, value } = await Promise.race([reader.read(), aborted])
      if (done) return
      yield value
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
    // Frees the connection where the reading ended early; on a stream that has ended it does nothing.
    reader.cancel().catch(() => {})
  }
}

function account(progress: StreamProgress, usage: LanguageModelV4Usage): void {
  progress.usage = {
    input_tokens: usage.inputTokens.total ?? null,
    cached_input_tokens: usage.inputTokens.cacheRead ?? null,
    output_tokens: usage.outputTokens.total ?? null,
    reasoning_tokens: usage.outputTokens.reasoning ?? null,
  }
  progress.cacheWriteTokens = usage.inputTokens.cacheWrite ?? 0
  progress.rawUsage = usage.raw ?? null
}

function parseInput(text: string): Json {
  if (text.trim() === '') return {}
  try {
    return JSON.parse(text) as Json
  } catch {
    return { $invalid: text }
  }
}

const withOptions = (metadata: SharedV4ProviderMetadata | undefined) => (metadata ? { providerOptions: metadata } : {})

/** Only rounds with tool calls go on, and only what plain text and calls cannot say has to be kept. */
function continuationOf(parts: Part[], calls: ToolCall[]): Json | null {
  if (calls.length === 0 || !parts.some((part) => part.type === 'reasoning' || part.providerOptions)) return null
  const kept = parts.filter((part) => part.type !== 'text' || part.text !== '')
  return JSON.parse(JSON.stringify(kept)) as Json
}
