import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { preferHeader, waitAskedFor } from '../lib/prefer.ts'
import { receiveWebhook, waitForWebhookRun } from '../services/webhooks.service.ts'
import { examples, WebhookAnswer } from './webhooks.schemas.ts'

export const webhookInboundRoutes: RouteGroup = {
  prefix: '/api/webhooks/recipe',
  tag: 'Webhooks',
  description: 'Addresses that other services post to, each of which starts a recipe, and the log of what came in.',
  operations: [
    operation(
      {
        operationId: 'receiveWebhook',
        method: 'post',
        path: '/{webhook}',
        summary: 'Deliver to a webhook',
        description:
          'For senders. The proof is what the webhook asks for: a signature, a token in a header, or `?token=`. The body is JSON, a form, with or without files, or text. An event that comes twice is answered with the execution that it started first; where the body alone is signed, the same signature is the same event.',
        access: 'public',
        verifiesSender: true,
        params: z.object({ webhook: z.string().openapi({ description: 'Id of the webhook.' }) }),
        query: z.object({
          token: z.string().optional().openapi({ description: 'The secret of a webhook with `url_token`.' }),
        }),
        headers: z.object(preferHeader),
        responses: {
          200: {
            description: 'Ended within the time that `Prefer: wait` allows, kept out by the filter, or known already.',
            schema: WebhookAnswer,
            headers: { 'Preference-Applied': 'The wait that was granted.' },
            example: examples.ended,
          },
          202: {
            description: 'An execution was started.',
            schema: WebhookAnswer,
            headers: { Location: 'Where the execution is, for those who may read it.' },
            example: examples.accepted,
          },
        },
        problems: ['unauthenticated', 'not-found', 'conflict', 'too-large', 'unsupported-media-type', 'schema-behind'],
      },
      async (runtime, { params, headers: { prefer }, request, signal }) => {
        const {
          ctx,
          verdict,
          receiptId,
          runId,
          status = 'queued',
          debounced,
        } = await receiveWebhook(runtime, {
          id: params.webhook,
          headers: request.headers,
          query: new URL(request.url).searchParams,
          request,
        })
        const answer = { verdict, delivery_id: receiptId, execution_id: runId, ...(debounced && { debounced }) }
        if (runId === null) return reply(200, { ...answer, status: null })
        const location = `/api/executions/${runId}`
        const seconds = waitAskedFor(prefer)
        const end = seconds === null ? null : await waitForWebhookRun(ctx, runId, seconds, signal)
        if (end !== null)
          return reply(200, { ...answer, ...end }, { location, 'preference-applied': `wait=${seconds}` })
        if (verdict === 'duplicate') return reply(200, { ...answer, status: null }, { location })
        return reply(202, { ...answer, status }, { location })
      },
    ),
  ],
}
