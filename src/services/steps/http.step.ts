import type { Json, JsonObject } from '../../lib/json.ts'
import { LanguageError } from '../../lib/language/scope.ts'
import { parseBody, type ParseMode } from '../../lib/parsers/index.ts'
import { mediaTypeOf, nameOfAnswer } from '../files/names.ts'
import { storeFile } from '../files/store-file.ts'
import { textValue, type InboundAnswer, type OutboundRequest } from '../http/exchange.ts'
import { stepDefaults, type HttpStep } from '../recipes/definition.ts'
import { StepError, type StepContext, type StepExecutor } from '../runs/step-executor.ts'
import { bodyToSend } from './http-body.ts'
import { sendOutbound, statusError } from './outbound.ts'

/** One HTTP request. Its result is recorded with the step itself; a repeat carries the same Idempotency-Key. */
export const httpStep: StepExecutor<HttpStep> = async (step, context) => {
  const request = renderRequest(step, context)
  const summary: JsonObject = { ...request, credential: step.auth?.credential ?? null }
  const send = async (idempotencyKey: string): Promise<JsonObject> => {
    const { body: _body, ...rest } = request
    const body = await bodyToSend(request, idempotencyKey, context)
    const answer = await sendOutbound({ ...rest, ...body, idempotencyKey }, step.auth?.credential, context)
    return outputOf(answer, step, request.url, context)
  }
  return context.effect('0.0', 'http', summary, send, { final: () => true })
}

type Rendered = Omit<OutboundRequest, 'idempotencyKey' | 'payload'>

function renderRequest({ request }: HttpStep, context: StepContext): Rendered & { [key: string]: Json } {
  const query = request.query === undefined ? {} : (context.render(request.query as JsonObject) as JsonObject)
  const headers = request.headers === undefined ? {} : (context.render(request.headers as JsonObject) as JsonObject)
  const body = request.body === undefined ? undefined : context.render(request.body)
  return {
    method: request.method,
    url: withQuery(context.renderText(request.url).trim(), query),
    headers: Object.fromEntries(
      Object.entries(headers)
        .filter(([, value]) => value !== null)
        .map(([name, value]) => [name, textValue(value)]),
    ),
    ...(body !== undefined && { body }),
  }
}

/** Absent values are left out; a list repeats its name. */
function withQuery(url: string, query: JsonObject): string {
  const entries = Object.entries(query)
  if (entries.length === 0) return url
  if (!URL.canParse(url)) throw new StepError('http-invalid-request', 'The URL is not absolute.', { retryable: false })
  const target = new URL(url)
  for (const [name, value] of entries) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== null) target.searchParams.append(name, textValue(each))
    }
  }
  return target.href
}

async function outputOf(answer: InboundAnswer, step: HttpStep, url: string, context: StepContext): Promise<JsonObject> {
  const { status, mediaType, bytes } = answer
  const headers = Object.fromEntries(answer.headers)
  const ok = status >= 200 && status < 300
  if (!ok && !step.accept?.includes(status)) throw statusError(answer, context)
  // Cookies of the answer are credentials, and nothing after this step has a use for them.
  delete headers['set-cookie']
  // An accepted failure seldom has the form of a success: a 404 may be a page where the 200 is JSON.
  const mode = ok ? (step.parse ?? stepDefaults.http.parse) : 'auto'
  if (mode === 'bytes') return { status, headers, body: await asFile(answer, url, context) }
  return { status, headers, body: bytes.byteLength === 0 ? null : await parsed(bytes, mediaType, mode) }
}

/** An answer without a body is a file without bytes: whoever asked for a file gets one. */
async function asFile({ headers, mediaType, bytes }: InboundAnswer, url: string, context: StepContext): Promise<Json> {
  const { file } = await storeFile(context.ctx, {
    name: nameOfAnswer(headers.get('content-disposition'), url),
    mediaType: mediaTypeOf(mediaType),
    bytes,
    source: 'step',
    runId: context.runId,
  })
  return file.handle
}

async function parsed(bytes: Uint8Array, mediaType: string | null, mode: ParseMode): Promise<Json> {
  try {
    return await parseBody(bytes, mediaType, mode)
  } catch (error) {
    if (!(error instanceof LanguageError)) throw error
    throw new StepError('http-parse', `The body could not be read as ${mode}: ${error.message}`, { cause: error })
  }
}
