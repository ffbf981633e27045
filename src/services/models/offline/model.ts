import type {
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4FilePart,
  LanguageModelV4Prompt,
  LanguageModelV4StreamPart,
} from '@ai-sdk/provider'
import type { Json } from '../../../lib/json.ts'
import { contentOf, toolDirectives } from './directives.ts'
import { instanceOf } from './instance.ts'
import { asksForPlan, planFrom } from './plan.ts'
import { summarize } from './summarize.ts'

const wordsPerChunk = 6

/**
 * The built-in simulated model: no network, no chance, the same answer to the same prompt. It summarizes what it is
 * given, fills structured answers, and calls a tool where the prompt says `call <tool> {json}`. It counts words as tokens.
 */
export function openOffline(modelId: string): LanguageModelV4 {
  return {
    specificationVersion: 'v4',
    provider: 'offline',
    modelId,
    supportedUrls: {},
    async doGenerate() {
      throw new TypeError('The offline model only streams.')
    },
    async doStream(options) {
      const parts = respond(options)
      return {
        stream: new ReadableStream<LanguageModelV4StreamPart>({
          pull(controller) {
            const { done, value } = parts.next()
            if (done) controller.close()
            else controller.enqueue(value)
          },
        }),
      }
    },
  }
}

function* respond(options: LanguageModelV4CallOptions): Generator<LanguageModelV4StreamPart> {
  const { question, files, results, turn } = lastTurn(options.prompt)
  yield { type: 'stream-start', warnings: [] }
  const offered = new Set(options.tools?.map((tool) => tool.name))
  const call = toolDirectives(question).filter(({ name }) => offered.has(name))[results.length]
  const answer = call ? '' : answerText(options, question, files, results)
  if (call) {
    yield { type: 'tool-call', toolCallId: `offline-${turn}-${results.length}`, toolName: call.name, input: call.input }
  } else {
    yield { type: 'text-start', id: 'answer' }
    for (const delta of chunksOf(answer)) yield { type: 'text-delta', id: 'answer', delta }
    yield { type: 'text-end', id: 'answer' }
  }
  const input = countWords(
    JSON.stringify(options.prompt, (_, value: unknown) => (value instanceof Uint8Array ? '' : value)),
  )
  const output = countWords(call ? call.input : answer)
  yield {
    type: 'finish',
    finishReason: { unified: call ? 'tool-calls' : 'stop', raw: undefined },
    usage: {
      inputTokens: { total: input, noCache: input, cacheRead: 0, cacheWrite: 0 },
      outputTokens: { total: output, text: output, reasoning: 0 },
    },
  }
}

interface ToolOutcome {
  name: string
  text: string
}

/** The last question and what tools have answered to it so far. */
function lastTurn(prompt: LanguageModelV4Prompt): {
  question: string
  files: string[]
  results: ToolOutcome[]
  turn: number
} {
  let question = ''
  const files: string[] = []
  let results: ToolOutcome[] = []
  let turn = 0
  for (const message of prompt) {
    if (message.role === 'user') {
      question = message.content
        .map((part) => (part.type === 'text' ? part.text : ''))
        .join('\n')
        .trim()
      for (const part of message.content) if (part.type === 'file') files.push(nameOf(part))
      results = []
      turn++
    } else if (message.role === 'tool') {
      for (const part of message.content) {
        if (part.type === 'tool-result') results.push({ name: part.toolName, text: textOf(part.output) })
      }
    }
  }
  return { question, files, results, turn }
}

const nameOf = ({ filename, mediaType, data }: LanguageModelV4FilePart): string =>
  `${filename} (${mediaType}, ${data.type === 'data' ? data.data.length : 0} bytes)`

function textOf(output: { type: string; value?: unknown }): string {
  return typeof output.value === 'string' ? output.value : JSON.stringify(output.value ?? null)
}

function answerText(
  options: LanguageModelV4CallOptions,
  question: string,
  files: string[],
  results: ToolOutcome[],
): string {
  const said =
    results.length > 0
      ? results.map(({ name, text: result }) => `${name}: ${summarize(result)}`).join('\n')
      : summarize(contentOf(question))
  const text = files.length === 0 ? said : `${said}\n\nAttached: ${files.join(', ')}.`
  const { responseFormat } = options
  if (responseFormat?.type !== 'json') return text
  if (asksForPlan(responseFormat.schema)) return JSON.stringify(planFrom(question))
  const instance: Json = instanceOf(responseFormat.schema ?? { type: 'object' }, text)
  return JSON.stringify(instance)
}

/** A few words at a time, white space kept, as a provider would stream them. */
function* chunksOf(text: string): Generator<string> {
  const words = text.match(/\s*\S+\s*/g) ?? []
  for (let i = 0; i < words.length; i += wordsPerChunk) yield words.slice(i, i + wordsPerChunk).join('')
}

const countWords = (text: string): number => text.match(/\S+/g)?.length ?? 0
