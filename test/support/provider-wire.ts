/** What a scripted provider says, in no provider's words. */
export interface WireUsage {
  input: number
  cached: number
  output: number
  reasoning: number
}
export interface WireCall {
  id: string
  name: string
  /** The arguments' text as the provider would send it, JSON or not. */
  args: string
}
export interface WireAnswer {
  text: string[]
  calls: WireCall[]
  usage: WireUsage
}

export type WireProvider = 'openai' | 'anthropic' | 'google' | 'openrouter' | 'openai-compatible'

interface Wire {
  /** Where a streamed answer is asked for, below the provider's base URL. */
  path: RegExp
  /** The stream as server-sent events; the last one is the proper end. */
  frames(answer: WireAnswer): string[]
  /** The body of an error status. */
  error(status: number, message: string): unknown
}

const data = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`
const event = (value: { type: string }) => `event: ${value.type}\n${data(value)}`

const openai: Wire = {
  path: /^\/responses$/,
  error: (status, message) => ({ error: { message, type: 'error', code: `status_${status}`, param: null } }),
  frames({ text, calls, usage }) {
    const response = { id: 'resp_1', object: 'response', created_at: 1, model: 'scripted', status: 'in_progress' }
    const frames = [event({ type: 'response.created', ...{ response } })]
    let index = 0
    if (text.length > 0) {
      const item = { type: 'message', id: 'msg_1', role: 'assistant', status: 'in_progress', content: [] }
      frames.push(event({ type: 'response.output_item.added', ...{ output_index: index, item } }))
      for (const delta of text) {
        const at = { item_id: 'msg_1', output_index: index, content_index: 0 }
        frames.push(event({ type: 'response.output_text.delta', ...at, ...{ delta } }))
      }
      const content = [{ type: 'output_text', text: text.join(''), annotations: [] }]
      const done = { ...item, status: 'completed', content }
      frames.push(event({ type: 'response.output_item.done', ...{ output_index: index++, item: done } }))
    }
    for (const call of calls) {
      const item = { type: 'function_call', id: `fc_${call.id}`, call_id: call.id, name: call.name, arguments: '' }
      frames.push(event({ type: 'response.output_item.added', ...{ output_index: index, item } }))
      const delta = { item_id: item.id, output_index: index, delta: call.args }
      frames.push(event({ type: 'response.function_call_arguments.delta', ...delta }))
      const done = { ...item, arguments: call.args, status: 'completed' }
      frames.push(event({ type: 'response.output_item.done', ...{ output_index: index++, item: done } }))
    }
    const completed = {
      ...response,
      status: 'completed',
      usage: {
        input_tokens: usage.input,
        input_tokens_details: { cached_tokens: usage.cached },
        output_tokens: usage.output,
        output_tokens_details: { reasoning_tokens: usage.reasoning },
        total_tokens: usage.input + usage.output,
      },
    }
    frames.push(event({ type: 'response.completed', ...{ response: completed } }))
    return frames
  },
}

const anthropic: Wire = {
  path: /^\/messages$/,
  error: (_status, message) => ({ type: 'error', error: { type: 'api_error', message } }),
  frames({ text, calls, usage }) {
    const message = {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: 'scripted',
      content: [],
      stop_reason: null,
      stop_sequence: null,
      // Anthropic counts what came from the cache apart from the rest of the input.
      usage: {
        input_tokens: usage.input - usage.cached,
        cache_read_input_tokens: usage.cached,
        cache_creation_input_tokens: 0,
        output_tokens: 1,
      },
    }
    const frames = [event({ type: 'message_start', ...{ message } })]
    const block = (index: number, content_block: object, deltas: object[]) => {
      frames.push(event({ type: 'content_block_start', ...{ index, content_block } }))
      for (const delta of deltas) frames.push(event({ type: 'content_block_delta', ...{ index, delta } }))
      frames.push(event({ type: 'content_block_stop', ...{ index } }))
    }
    let index = 0
    if (text.length > 0) {
      const deltas = text.map((each) => ({ type: 'text_delta', text: each }))
      block(index++, { type: 'text', text: '' }, deltas)
    }
    for (const { id, name, args } of calls) {
      block(index++, { type: 'tool_use', id, name, input: {} }, [{ type: 'input_json_delta', partial_json: args }])
    }
    const delta = { stop_reason: calls.length > 0 ? 'tool_use' : 'end_turn', stop_sequence: null }
    frames.push(event({ type: 'message_delta', ...{ delta, usage: { output_tokens: usage.output } } }))
    frames.push(event({ type: 'message_stop' }))
    return frames
  },
}

const google: Wire = {
  path: /^\/models\/[^/]+:streamGenerateContent$/,
  error: (status, message) => ({ error: { code: status, message, status: 'UNAVAILABLE' } }),
  frames({ text, calls, usage }) {
    const content = (parts: object[]) => ({ candidates: [{ content: { role: 'model', parts }, index: 0 }] })
    const frames = text.map((each) => data(content([{ text: each }])))
    for (const call of calls) {
      const functionCall = { name: call.name, args: JSON.parse(call.args) as unknown }
      frames.push(data(content([{ functionCall, thoughtSignature: `signature-of-${call.id}` }])))
    }
    frames.push(
      data({
        candidates: [{ content: { role: 'model', parts: [{ text: '' }] }, finishReason: 'STOP', index: 0 }],
        usageMetadata: {
          promptTokenCount: usage.input,
          cachedContentTokenCount: usage.cached,
          candidatesTokenCount: usage.output - usage.reasoning,
          thoughtsTokenCount: usage.reasoning,
          totalTokenCount: usage.input + usage.output,
        },
      }),
    )
    return frames
  },
}

const chat = (extraUsage: object = {}): Wire => ({
  path: /^\/chat\/completions$/,
  error: (status, message) => ({ error: { message, type: 'error', code: status } }),
  frames({ text, calls, usage }) {
    const chunk = (choices: object[], more: object = {}) =>
      data({ id: 'chat_1', object: 'chat.completion.chunk', created: 1, model: 'scripted', choices, ...more })
    const delta = (content: object, finish_reason: string | null = null) =>
      chunk([{ index: 0, delta: content, finish_reason }])
    const frames = text.map((content) => delta({ role: 'assistant', content }))
    for (const [index, call] of calls.entries()) {
      const tool = { name: call.name, arguments: call.args }
      frames.push(delta({ tool_calls: [{ index, id: call.id, type: 'function', function: tool }] }))
    }
    frames.push(delta({}, calls.length > 0 ? 'tool_calls' : 'stop'))
    const totals = {
      prompt_tokens: usage.input,
      prompt_tokens_details: { cached_tokens: usage.cached },
      completion_tokens: usage.output,
      completion_tokens_details: { reasoning_tokens: usage.reasoning },
      total_tokens: usage.input + usage.output,
      ...extraUsage,
    }
    frames.push(chunk([], { usage: totals }), 'data: [DONE]\n\n')
    return frames
  },
})

/** What OpenRouter says an answer has cost. */
export const openrouterCost = 0.00012345

export const wires: Record<WireProvider, Wire> = {
  openai,
  anthropic,
  google,
  openrouter: chat({ cost: openrouterCost }),
  'openai-compatible': chat(),
}
