import type { Json } from '../../lib/json.ts'
import { sendOutbound, statusError } from '../steps/outbound.ts'
import type { Channel } from './channel.ts'

/** A POST with the message, its data, and what sent it. */
export const webhookChannel: Channel = {
  write({ id, webhook }, { message, data, body: given }, context) {
    if (!webhook) return null
    const url = context.renderText(webhook.url).trim()
    const body: Json = given ?? { message, data: data ?? null, execution_id: context.runId, step: id }
    const credential = webhook.auth?.credential
    return {
      kind: 'http',
      request: { method: 'POST', url, body, credential: credential ?? null },
      async send(idempotencyKey) {
        const request = { method: 'POST', url, headers: {}, body, idempotencyKey }
        const answer = await sendOutbound(request, credential, context)
        if (answer.status < 200 || answer.status >= 300) throw statusError(answer, context)
        return { channel: 'webhook', status: answer.status }
      },
    }
  },
}
