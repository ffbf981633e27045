import { AppError } from '../../lib/errors.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { mostParts, writeForm, type FormPart } from '../../lib/multipart.ts'
import { looksLikeHandle } from '../files/file.ts'
import { openHandle } from '../files/open-handle.ts'
import { textValue, type OutboundRequest } from '../http/exchange.ts'
import { StepError, type StepContext } from '../runs/step-executor.ts'

type Sent = Pick<OutboundRequest, 'body' | 'payload'>

/**
 * What a rendered body is sent as: a file as its bytes, a form under `multipart/form-data` with files as parts, anything
 * else as it is. Made for each attempt from the same values, so the bytes are the same.
 */
export async function bodyToSend(
  { headers, body }: { headers: Record<string, string>; body?: Json },
  idempotencyKey: string,
  { ctx }: StepContext,
): Promise<Sent> {
  if (body === undefined) return {}
  const open = async (handle: JsonObject & { $file: string }) => {
    try {
      return await openHandle(ctx, handle)
    } catch (error) {
      if (!(error instanceof AppError) || error.kind !== 'not-found') throw error
      throw new StepError('file-not-found', error.detail, { retryable: false })
    }
  }
  if (looksLikeHandle(body)) {
    const { handle, bytes } = await open(body)
    return { payload: { bytes, mediaType: handle.media_type } }
  }
  if (!isMultipart(headers)) return { body }
  if (!isObject(body))
    throw new StepError('http-invalid-request', 'A multipart/form-data body is an object of its fields.', {
      retryable: false,
    })
  const fields = Object.entries(body as JsonObject).toSorted(([a], [b]) => (a < b ? -1 : 1))
  const entries = fields.flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((each) => ({ name, value: each })),
  )
  if (entries.length > mostParts)
    throw new StepError('http-invalid-request', `A form has ${mostParts} parts at most.`, { retryable: false })
  const parts: FormPart[] = []
  for (const { name, value } of entries) {
    if (!looksLikeHandle(value)) {
      parts.push({ name, content: textValue(value) })
      continue
    }
    const { handle, bytes } = await open(value)
    parts.push({ name, content: { bytes, fileName: handle.name, mediaType: handle.media_type } })
  }
  return { payload: writeForm(parts, idempotencyKey) }
}

const isMultipart = (headers: Record<string, string>): boolean =>
  Object.entries(headers).some(
    ([name, value]) => name.toLowerCase() === 'content-type' && /^\s*multipart\/form-data\s*(;|$)/i.test(value),
  )
