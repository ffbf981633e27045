import { z } from '@hono/zod-openapi'
import type { ServiceContext } from '../context.ts'
import { operation, reply, type Operation } from '../lib/operation.ts'
import { isPermission } from '../lib/permissions.ts'
import { resourceOf } from '../lib/resource.ts'
import { issueTicket } from '../services/identity/ticket.ts'

const SignedLink = z
  .object({
    url: z.url().openapi({ description: 'Needs no header. It opens this one address and nothing else.' }),
    expires_at: z.iso.datetime().openapi({ description: 'Five minutes from now. What has begun by then goes on.' }),
  })
  .openapi('SignedLink')

/**
 * The POST beside a GET with `ticket: true`, which answers a signed address of that GET for what can send no headers. It
 * takes the parameters and the query of the GET and needs the same permission.
 */
export function linkTo(
  prefix: string,
  target: Operation,
  spec: {
    operationId: string
    summary: string
    /** Last segment of the path: `/{execution}/events/ticket`. */
    name: 'ticket' | 'link'
    /** Throws where the resource is none of the caller's. */
    check(ctx: ServiceContext, params: Record<string, string>): Promise<unknown>
  },
): Operation {
  const { access, params, query, path } = target
  if (!target.ticket || !isPermission(access)) throw new Error(`${target.operationId} takes no tickets.`)
  const template = `${prefix}${path}`
  return operation(
    {
      operationId: spec.operationId,
      method: 'post',
      path: `${path}/${spec.name}`,
      summary: spec.summary,
      description:
        'For `EventSource`, `<img>`, downloads and whatever else can send no headers. The address acts for who asked for ' +
        'it: revoking that key, or ending that membership, ends it too.',
      access,
      ...(params && { params }),
      ...(query && { query }),
      responses: {
        200: {
          description: 'The address, from `API_URL` on.',
          schema: SignedLink,
          example: {
            url: `https://automatos.example${template.replace(/\{[^}]+\}/g, '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f')}?ticket=eyJ3Ijo.k1.c2lnbmVk`,
            expires_at: '2026-11-22T08:05:00.000Z',
          },
        },
      },
      problems: ['not-found'],
    },
    async (ctx, { params: given = {}, request }) => {
      const named = given as Record<string, string>
      await spec.check(ctx, named)
      const { ticket, expiresAt } = await issueTicket(ctx, {
        resource: resourceOf(template, named),
        permission: access,
      })
      const address = template.replace(/\{([^}]+)\}/g, (_, name: string) => encodeURIComponent(named[name]!))
      const search = queryFor(target, request)
      search.set('ticket', ticket)
      return reply(
        200,
        { url: `${ctx.config.apiUrl.replace(/\/$/, '')}${address}?${search}`, expires_at: expiresAt.toISOString() },
        { 'cache-control': 'no-store' },
      )
    },
  )
}

/** What the caller asked of the GET, as it was written; the schema has checked it. */
function queryFor({ query }: Operation, request: Request): URLSearchParams {
  const known = Object.keys(query?.shape ?? {})
  const given = [...new URL(request.url).searchParams].filter(([name]) => known.includes(name))
  return new URLSearchParams(given)
}
