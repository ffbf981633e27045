import { z } from '@hono/zod-openapi'
import type { Config } from '../config.ts'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import { getHeartbeatStatus, instanceStates, listInstances, listServices } from '../services/heartbeat.service.ts'
import {
  heartbeatStatusExample,
  heartbeatStatusSchema,
  instanceExample,
  instanceSchema,
  instanceServiceExample,
  instanceServiceSchema,
} from './heartbeat.schemas.ts'

const cursor = z.string().max(400).optional().openapi({ description: '`next_cursor` of the page before this one.' })

export const heartbeatRoutes = ({ heartbeatEnabled }: Pick<Config, 'heartbeatEnabled'>): RouteGroup => ({
  prefix: '/api/heartbeat',
  tag: 'Heartbeat',
  description:
    'The instances of this installation, their background services, and how available its components have been. About the installation as a whole: it tells nothing of any workspace.',
  requires: {
    settings: ['HEARTBEAT_ENABLED'],
    met: heartbeatEnabled,
    detail: 'The heartbeat is switched off: set HEARTBEAT_ENABLED=true.',
  },
  operations: [
    operation(
      {
        operationId: 'listInstances',
        method: 'get',
        path: '/instances',
        summary: 'List the instances',
        description:
          'One a process; on Workers one for all. An instance that misses three beats is `stale`; what has not beaten for a day is forgotten.',
        access: 'system:read',
        query: z.object({
          limit: pageQuery.limit,
          cursor,
          state: z.enum(instanceStates).optional().openapi({ description: 'Only those in this state.' }),
        }),
        responses: {
          200: {
            description: 'In the order of their ids.',
            schema: pageOf(instanceSchema).openapi('InstanceList'),
            example: { items: [instanceExample], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listInstances(ctx, query), uncached),
    ),
    operation(
      {
        operationId: 'listBackgroundServices',
        method: 'get',
        path: '/services',
        summary: 'List the background services of every instance',
        description:
          'As each instance told it with its last beat, so any of them answers for all. On Workers as the last cron minute saw it.',
        access: 'system:read',
        query: z.object({ limit: pageQuery.limit, cursor }),
        responses: {
          200: {
            description: 'By instance, then by name; those of instances that have stopped are left out.',
            schema: pageOf(instanceServiceSchema).openapi('BackgroundServiceList'),
            example: { items: [instanceServiceExample], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listServices(ctx, query), uncached),
    ),
    operation(
      {
        operationId: 'getHeartbeatStatus',
        method: 'get',
        path: '/status',
        summary: 'Get the state of the installation',
        description:
          'How many instances are in which state, what each component is now and how available it was over an hour, a day and a week. Availability is a share of what was measured; times without a measurement count neither as up nor as down.',
        access: 'system:read',
        responses: {
          200: {
            description: 'The installation as its instances see it.',
            schema: heartbeatStatusSchema,
            example: heartbeatStatusExample,
          },
        },
      },
      async (ctx) => reply(200, await getHeartbeatStatus(ctx), uncached),
    ),
  ],
})

const uncached = { 'cache-control': 'no-store' }
