import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageQuery } from '../lib/pagination.ts'
import { cancelBackfill, createBackfill, getBackfill, listBackfills } from '../services/schedules.service.ts'
import { Backfill, BackfillList, CancelBackfill, examples, NewBackfill } from './schedule-operations.schemas.ts'

const params = z.object({ schedule: z.string().openapi({ description: 'Id of the schedule.' }) })
const oneParams = params.extend({ backfill: z.string().openapi({ description: 'Id of the backfill.' }) })
const theBackfill = { description: 'The backfill and how far it is.', schema: Backfill, example: examples.backfill }

export const scheduleBackfillsRoutes: RouteGroup = {
  prefix: '/api/schedules',
  tag: 'Schedules',
  description: 'When recipes run by themselves, and the ledger of every slot: what fired, what did not, and why.',
  operations: [
    operation(
      {
        operationId: 'createBackfill',
        method: 'post',
        path: '/{schedule}/backfills',
        summary: 'Fire the slots of a past window that never fired',
        description:
          'Oldest first, `concurrency` at a time, in the background. A slot that has fired never fires again. One backfill a schedule at a time, of at most 10,000 slots; it waits while the schedule is paused. Needs recipes:execute besides schedules:write.',
        access: 'schedules:write',
        idempotent: 'stored',
        params,
        body: NewBackfill,
        bodyExample: examples.backfillRequest,
        responses: {
          201: {
            ...theBackfill,
            description: 'The backfill has been taken on.',
            headers: { location: 'The address of the backfill.' },
          },
        },
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params: { schedule }, body }) => {
        const created = await createBackfill(ctx, { ...body, id: schedule })
        return reply(201, created, { location: `/api/schedules/${created.schedule_id}/backfills/${created.id}` })
      },
    ),
    operation(
      {
        operationId: 'listBackfills',
        method: 'get',
        path: '/{schedule}/backfills',
        summary: 'List the backfills of a schedule',
        access: 'schedules:read',
        params,
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Newest first.',
            schema: BackfillList,
            example: { items: [examples.backfill], next_cursor: null },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params: { schedule }, query }) => reply(200, await listBackfills(ctx, { ...query, id: schedule })),
    ),
    operation(
      {
        operationId: 'getBackfill',
        method: 'get',
        path: '/{schedule}/backfills/{backfill}',
        summary: 'Read how far a backfill is',
        access: 'schedules:read',
        params: oneParams,
        responses: { 200: theBackfill },
        problems: ['not-found'],
      },
      async (ctx, { params: { schedule, backfill } }) => reply(200, await getBackfill(ctx, { id: schedule, backfill })),
    ),
    operation(
      {
        operationId: 'cancelBackfill',
        method: 'post',
        path: '/{schedule}/backfills/{backfill}/cancel',
        summary: 'Cancel a backfill',
        description: 'No further slot fires. What has fired stays in the ledger.',
        access: 'schedules:write',
        params: oneParams,
        body: CancelBackfill,
        bodyOptional: true,
        bodyExample: { cancel_executions: true },
        responses: {
          200: { ...theBackfill, description: 'It is `canceling` until its open executions have ended.' },
        },
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params: { schedule, backfill }, body }) =>
        reply(200, await cancelBackfill(ctx, { id: schedule, backfill, cancelExecutions: body.cancel_executions })),
    ),
  ],
}
