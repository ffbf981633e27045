import type { LanguageModelV4CallOptions, LanguageModelV4Message } from '@ai-sdk/provider'
import { canonicalJson } from '../../lib/canonical.ts'
import type { Json } from '../../lib/json.ts'
import { toParts } from './attachments.ts'
import { offlineProvider } from './providers.ts'
import type { AskOptions, ModelChoice, ModelMessage, ModelRequest } from './types.ts'

type AssistantContent = Extract<LanguageModelV4Message, { role: 'assistant' }>['content']

/** The request in the SDK's words. */
export function toCallOptions(
  request: ModelRequest,
  choice: ModelChoice,
  files?: AskOptions['files'],
): LanguageModelV4CallOptions {
  const system = [request.system, request.output_schema && schemaInstruction(request.output_schema)]
  const text = system.filter(Boolean).join('\n\n')
  return {
    prompt: [
      ...(text ? [{ role: 'system' as const, content: text }] : []),
      ...request.messages.map((message) => toMessage(message, choice, files)),
    ],
    ...(choice.temperature !== undefined && { temperature: choice.temperature }),
    ...(choice.top_p !== undefined && { topP: choice.top_p }),
    ...maxOutputTokens(request, choice),
    ...(request.tools.length > 0 && {
      tools: request.tools.map((tool) => ({
        type: 'function' as const,
        name: tool.name,
        description: tool.description,
        inputSchema: tool.parameters,
      })),
      toolChoice: { type: 'auto' as const },
    }),
    // Several providers cannot combine tools with a forced JSON answer; with tools the instruction alone must do.
    ...(request.output_schema &&
      (request.tools.length === 0 || choice.provider === offlineProvider) && {
        responseFormat: { type: 'json' as const, schema: request.output_schema },
      }),
  }
}

function maxOutputTokens(request: ModelRequest, choice: ModelChoice): { maxOutputTokens?: number } {
  const bounds = [request.max_output_tokens, choice.max_output_tokens].filter((bound) => bound !== undefined)
  return bounds.length > 0 ? { maxOutputTokens: Math.min(...bounds) } : {}
}

const schemaInstruction = (schema: object) =>
  `Your final answer is one JSON value and nothing else: no prose, no code fence. It must match this JSON Schema:\n${JSON.stringify(schema)}`

function toMessage(message: ModelMessage, choice: ModelChoice, files: AskOptions['files']): LanguageModelV4Message {
  if (message.role === 'user') {
    const attached = (message.files ?? []).map(({ $file }) => files?.get($file)).filter((file) => file !== undefined)
    return { role: 'user', content: [...toParts(attached, choice), { type: 'text', text: message.text }] }
  }
  if (message.role === 'assistant') return { role: 'assistant', content: assistantContent(message, choice.provider) }
  return {
    role: 'tool',
    content: message.results.map(({ id, name, result, is_error }) => ({
      type: 'tool-result',
      toolCallId: id,
      toolName: name,
      output: { type: is_error ? 'error-json' : 'json', value: inOrder(result) },
    })),
  }
}

function assistantContent(message: Extract<ModelMessage, { role: 'assistant' }>, provider: string): AssistantContent {
  const { continuation } = message
  // Written by readAnswer from the same provider's own stream, so the parts are its content parts.
  if (continuation?.provider === provider) return continuation.parts as unknown as AssistantContent
  return [
    ...(message.text ? [{ type: 'text' as const, text: message.text }] : []),
    ...message.tool_calls.map((call) => ({
      type: 'tool-call' as const,
      toolCallId: call.id,
      toolName: call.name,
      input: inOrder(call.input),
    })),
  ]
}

/** What was recorded comes back with its keys in another order. Sorted, a resumed round asks in the same words as the first. */
const inOrder = (value: Json): Json => JSON.parse(canonicalJson(value)) as Json
