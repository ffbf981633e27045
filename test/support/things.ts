import { z } from '@hono/zod-openapi'
import { AppError } from '../../src/lib/errors.ts'
import { operation, reply, type RouteGroup } from '../../src/lib/operation.ts'

const encoder = new TextEncoder()
const named = (operationId: string, path: string) => ({ operationId, path, summary: operationId, responses: {} })

/** Operations of every shape that the pipeline treats differently. */
export const things: RouteGroup = {
  prefix: '/api/things',
  tag: 'Things',
  description: 'For tests of the pipeline.',
  operations: [
    operation(
      {
        ...named('listThings', '/'),
        method: 'get',
        access: 'agents:read',
        query: z.object({ limit: z.coerce.number().int().max(200).default(50) }),
        headers: z.object({ 'if-match': z.string().startsWith('"').optional() }),
      },
      (ctx, { query }) => reply(200, { items: [], limit: query.limit, workspace: ctx.actor.workspaceId }),
    ),
    operation({ ...named('askDearly', '/dear'), method: 'get', access: 'agents:read', weight: 3 }, () =>
      reply(200, {}),
    ),
    operation({ ...named('openThing', '/open'), method: 'get', access: 'public' }, () => reply(200, { open: true })),
    operation({ ...named('breakThing', '/broken'), method: 'get', access: 'public' }, () => {
      throw new Error('select secret from vault')
    }),
    operation({ ...named('loseThing', '/lost'), method: 'get', access: 'public' }, async () => {
      throw new AppError('upstream-failed', 'The feed is gone.', { headers: { 'retry-after': '7' } })
    }),
    operation({ ...named('loseRace', '/contested'), method: 'get', access: 'public' }, () => {
      throw Object.assign(new Error('deadlock detected'), { code: '40P01' })
    }),
    operation({ ...named('writeCycle', '/cycle'), method: 'get', access: 'public' }, () => {
      const cycle: Record<string, unknown> = {}
      cycle['self'] = cycle
      return reply(200, cycle)
    }),
    operation({ ...named('streamThing', '/stream'), method: 'get', access: 'public' }, () => ({
      status: 200,
      contentType: 'text/event-stream; charset=utf-8',
      body: streamOf(['data: 1\n\n', 'data: 2\n\n']),
    })),
    operation({ ...named('breakStream', '/broken-stream'), method: 'get', access: 'public' }, () => ({
      status: 200,
      contentType: 'text/event-stream; charset=utf-8',
      body: streamOf(['data: 1\n\n'], new Error('the model went away')),
    })),
    operation({ ...named('readRaw', '/raw'), method: 'post', access: 'public' }, async (_runtime, { request }) =>
      reply(200, { bytes: (await request.arrayBuffer()).byteLength }),
    ),
    operation(
      {
        ...named('makeThing', '/{thing}'),
        method: 'post',
        access: 'agents:write',
        params: z.object({ thing: z.string().max(5) }),
        body: z.strictObject({ name: z.string(), size: z.number() }),
      },
      (_ctx, { body, params }) => reply(201, { ...body, thing: params.thing }, { location: '/x' }),
    ),
    operation(
      {
        ...named('echoThing', '/{thing}/echo'),
        method: 'post',
        access: 'public',
        body: z.record(z.string(), z.unknown()),
        bodyOptional: true,
      },
      (_runtime, { body }) => reply(200, body),
    ),
    operation(
      {
        ...named('readSmall', '/{thing}/small'),
        method: 'post',
        access: 'public',
        maxBodyBytes: 20 * 1024 * 1024,
        body: z.looseObject({}),
      },
      (_runtime, { body }) => reply(200, { fields: Object.keys(body).length }),
    ),
  ],
}

export const widgets: RouteGroup = {
  prefix: '/api/widgets',
  tag: 'Widgets',
  description: 'For tests of the widget layer.',
  operations: [
    operation({ ...named('getConfig', '/config'), method: 'get', access: 'authenticated' }, () =>
      reply(200, { config: {} }),
    ),
    operation({ ...named('breakWidget', '/broken'), method: 'get', access: 'authenticated' }, () => {
      throw new Error('broken')
    }),
  ],
}

export function streamOf(chunks: string[], error?: Error): ReadableStream<Uint8Array> {
  const waiting = [...chunks]
  return new ReadableStream({
    pull(controller) {
      const chunk = waiting.shift()
      if (chunk !== undefined) controller.enqueue(encoder.encode(chunk))
      else if (error) controller.error(error)
      else controller.close()
    },
  })
}

export interface Problem {
  type: string
  title: string
  status: number
  detail: string
  instance: string
  request_id: string
  errors?: { pointer: string; detail: string }[]
  stack?: string
}
