import { EgressError } from '../../lib/egress-error.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { parseBody } from '../../lib/parsers/index.ts'
import { exchange, InvalidRequestError, textOf } from '../http/exchange.ts'
import { ToolError, type Tool } from './tool.ts'

const maxResponseBytes = 2 * 1024 * 1024
/** What of a body is shown to the model. */
const maxShownCharacters = 40_000
const timeoutMs = 30_000

export const httpRequestTool: Tool = {
  name: 'http_request',
  description:
    'Makes one HTTP request to a public address and returns its status, content type and body. JSON, feeds and CSV come parsed. No credentials are sent.',
  parameters: {
    type: 'object',
    properties: {
      method: { enum: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'], description: 'Default: GET.' },
      url: { type: 'string', minLength: 1, maxLength: 8000, description: 'Absolute http or https URL.' },
      headers: { type: 'object', maxProperties: 50, additionalProperties: { type: 'string', maxLength: 8000 } },
      body: { description: 'Sent as JSON unless it is a text.' },
    },
    required: ['url'],
    additionalProperties: false,
  },
  reachesOut: true,
  async run(ctx, args, { signal, idempotencyKey }) {
    try {
      const answer = await exchange(
        ctx,
        {
          method: typeof args['method'] === 'string' ? args['method'] : 'GET',
          url: String(args['url']),
          headers: (args['headers'] ?? {}) as Record<string, string>,
          ...(args['body'] !== undefined && { body: args['body'] }),
          idempotencyKey,
        },
        // What a model writes never reaches a secret.
        { workspaceId: ctx.actor.workspaceId, secrets: false, signal, timeoutMs, maxResponseBytes },
      )
      return {
        status: answer.status,
        content_type: answer.mediaType,
        ...shown(await bodyOf(answer.bytes, answer.mediaType)),
      }
    } catch (error) {
      if (error instanceof EgressError) throw new ToolError(error.kind, error.message)
      if (error instanceof InvalidRequestError) throw new ToolError('invalid-arguments', error.message)
      throw error
    }
  },
}

async function bodyOf(bytes: Uint8Array, mediaType: string | null): Promise<Json> {
  if (bytes.byteLength === 0) return null
  try {
    return await parseBody(bytes, mediaType, 'auto')
  } catch {
    // A body that is not what it says it is is still worth reading.
    return textOf(bytes)
  }
}

function shown(body: Json): JsonObject {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  if (text.length <= maxShownCharacters) return { body }
  return { body: text.slice(0, maxShownCharacters), truncated: true, full_length: text.length }
}
