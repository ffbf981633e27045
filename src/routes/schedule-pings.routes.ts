import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { createPing, deletePing, getPing, pingTag, receivePing, updatePing } from '../services/schedules.service.ts'
import { CreatedPing, examples, NewPing, Ping, PingChange, Pong } from './schedule-operations.schemas.ts'

const params = z.object({ schedule: z.string().openapi({ description: 'Id of the schedule.' }) })
const thePing = { description: 'What is expected, and when it last came.', schema: Ping, example: examples.ping }

/** The dead-man's switch of a schedule, as its owner sees it. */
export const schedulePingsRoutes: RouteGroup = {
  prefix: '/api/schedules',
  tag: 'Schedules',
  description: 'When recipes run by themselves, and the ledger of every slot: what fired, what did not, and why.',
  operations: [
    operation(
      {
        operationId: 'createPing',
        method: 'post',
        path: '/{schedule}/ping',
        summary: 'Give a schedule an address that an outside job has to call',
        description:
          'When no call comes within `period` and `grace`, the schedule is `overdue` and `schedule.overdue` is told, once. Takes the place of an address that it had.',
        access: 'schedules:write',
        idempotent: 'sealed',
        params,
        body: NewPing,
        bodyExample: examples.pingRequest,
        responses: {
          201: { description: 'With the address, this once.', schema: CreatedPing, example: examples.createdPing },
        },
        etag: 'create',
        problems: ['not-found'],
      },
      async (ctx, { params: { schedule }, body }) => {
        const created = await createPing(ctx, { ...body, id: schedule })
        const { url: _, ...ping } = created
        return reply(201, created, { etag: pingTag(ping), 'cache-control': 'no-store' })
      },
    ),
    operation(
      {
        operationId: 'getPing',
        method: 'get',
        path: '/{schedule}/ping',
        summary: 'Read whether the outside job calls',
        access: 'schedules:read',
        params,
        responses: { 200: thePing },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params: { schedule } }) => {
        const ping = await getPing(ctx, { id: schedule })
        return reply(200, ping, { etag: pingTag(ping) })
      },
    ),
    operation(
      {
        operationId: 'updatePing',
        method: 'patch',
        path: '/{schedule}/ping',
        summary: 'Change how often the outside job has to call',
        description: 'The address stays. What is not given stays, too. The new period counts from now.',
        access: 'schedules:write',
        params,
        body: PingChange,
        bodyExample: { period: '6h' },
        responses: { 200: thePing },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params: { schedule }, body, request }) => {
        const ping = await updatePing(ctx, { ...body, id: schedule, ifMatch: request.headers.get('if-match') })
        return reply(200, ping, { etag: pingTag(ping) })
      },
    ),
    operation(
      {
        operationId: 'deletePing',
        method: 'delete',
        path: '/{schedule}/ping',
        summary: 'Expect no calls any more',
        description: 'The address works no longer.',
        access: 'schedules:write',
        params,
        responses: { 204: { description: 'The address is gone.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params: { schedule }, request }) => {
        await deletePing(ctx, { id: schedule, ifMatch: request.headers.get('if-match') })
        return reply(204)
      },
    ),
  ],
}

const token = z.object({ token: z.string().openapi({ description: 'The secret part of the address.' }) })
const pong = { 200: { description: 'The ping has been counted.', schema: Pong, example: examples.pong } }
const headers = { 'cache-control': 'no-store' }

/** What the outside job calls. It knows the address and nothing else, so it needs no key. */
export const pingsRoutes: RouteGroup = {
  prefix: '/api/pings',
  tag: 'Pings',
  description: 'Signs of life of jobs that run elsewhere. The address itself is the secret.',
  operations: [
    operation(
      {
        operationId: 'sendPing',
        method: 'get',
        path: '/{token}',
        summary: 'Say that a job is alive',
        description: 'For whatever can send no POST: `curl -fsS <address>` at the end of a script will do.',
        access: 'public',
        params: token,
        responses: pong,
        problems: ['not-found'],
      },
      async (runtime, { params }) => reply(200, await receivePing(runtime, params.token), headers),
    ),
    operation(
      {
        operationId: 'postPing',
        method: 'post',
        path: '/{token}',
        summary: 'Say by POST that a job is alive',
        access: 'public',
        params: token,
        responses: pong,
        problems: ['not-found'],
      },
      async (runtime, { params }) => reply(200, await receivePing(runtime, params.token), headers),
    ),
  ],
}
