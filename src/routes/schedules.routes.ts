import { z } from '@hono/zod-openapi'
import { operation, reply, type Reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import {
  createSchedule,
  deleteSchedule,
  getSchedule,
  listSchedules,
  listSlots,
  pauseSchedule,
  previewSchedule,
  resumeSchedule,
  scheduleTag,
  updateSchedule,
} from '../services/schedules.service.ts'
import {
  examples,
  NewSchedule,
  Schedule,
  ScheduleChange,
  SchedulePreview,
  ScheduleTiming,
  Slot,
} from './schedules.schemas.ts'

const params = z.object({ schedule: z.string().openapi({ description: 'Id of the schedule.' }) })
const theSchedule = { description: 'The schedule with its next slots.', schema: Schedule, example: examples.schedule }

const answer = (schedule: Awaited<ReturnType<typeof getSchedule>>): Reply =>
  reply(200, schedule, { etag: scheduleTag(schedule) })
const target = ({ schedule }: { schedule: string }, { headers }: Request) => ({
  id: schedule,
  ifMatch: headers.get('if-match'),
})

export const schedulesRoutes: RouteGroup = {
  prefix: '/api/schedules',
  tag: 'Schedules',
  description: 'When recipes run by themselves, and the ledger of every slot: what fired, what did not, and why.',
  operations: [
    operation(
      {
        operationId: 'createSchedule',
        method: 'post',
        path: '/',
        summary: 'Run a recipe on a schedule',
        description: 'Needs recipes:execute besides schedules:write.',
        access: 'schedules:write',
        idempotent: 'stored',
        body: NewSchedule,
        bodyExample: examples.create,
        responses: { 201: { ...theSchedule, headers: { location: 'The address of the schedule.' } } },
        etag: 'create',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { body }) => {
        const created = await createSchedule(ctx, body)
        return reply(201, created, { location: `/api/schedules/${created.id}`, etag: scheduleTag(created) })
      },
    ),
    operation(
      {
        operationId: 'listSchedules',
        method: 'get',
        path: '/',
        summary: 'List the schedules of the workspace',
        access: 'schedules:read',
        query: z.object({
          ...pageQuery,
          recipe_id: z
            .string()
            .min(1)
            .max(100)
            .optional()
            .openapi({ description: 'Id or slug: of this recipe alone.' }),
        }),
        responses: {
          200: {
            description: 'Schedules, newest first.',
            schema: pageOf(Schedule).openapi('ScheduleList'),
            example: { items: [examples.schedule], next_cursor: null },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { query }) => reply(200, await listSchedules(ctx, query)),
    ),
    operation(
      {
        operationId: 'previewSchedule',
        method: 'post',
        path: '/preview',
        summary: 'Show the slots that a schedule would have',
        description: 'Writes nothing.',
        access: 'schedules:read',
        body: ScheduleTiming,
        bodyExample: examples.preview,
        responses: {
          200: { description: 'The next slots.', schema: SchedulePreview, example: examples.previewed },
        },
      },
      async (ctx, { body }) => reply(200, await previewSchedule(ctx, body)),
    ),
    operation(
      {
        operationId: 'getSchedule',
        method: 'get',
        path: '/{schedule}',
        summary: 'Read a schedule',
        access: 'schedules:read',
        params,
        responses: { 200: theSchedule },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params: { schedule } }) => answer(await getSchedule(ctx, { id: schedule })),
    ),
    operation(
      {
        operationId: 'updateSchedule',
        method: 'patch',
        path: '/{schedule}',
        summary: 'Change a schedule',
        description:
          'What is not given stays. A change of the times takes effect now: old slots that are past and have not fired are entered in the ledger as skipped. Needs recipes:execute besides schedules:write.',
        access: 'schedules:write',
        params,
        body: ScheduleChange,
        bodyExample: examples.change,
        responses: { 200: theSchedule },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, body, request }) =>
        answer(await updateSchedule(ctx, { ...body, ...target(params, request) })),
    ),
    operation(
      {
        operationId: 'deleteSchedule',
        method: 'delete',
        path: '/{schedule}',
        summary: 'Delete a schedule and its ledger',
        description: 'Its executions stay, those under way included.',
        access: 'schedules:write',
        params,
        responses: { 204: { description: 'The schedule is gone.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params, request }) => {
        await deleteSchedule(ctx, target(params, request))
        return reply(204)
      },
    ),
    operation(
      {
        operationId: 'pauseSchedule',
        method: 'post',
        path: '/{schedule}/pause',
        summary: 'Pause a schedule',
        description: 'Nothing fires until it is resumed. An execution under way goes on.',
        access: 'schedules:write',
        params,
        responses: { 200: theSchedule },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params, request }) => answer(await pauseSchedule(ctx, target(params, request))),
    ),
    operation(
      {
        operationId: 'resumeSchedule',
        method: 'post',
        path: '/{schedule}/resume',
        summary: 'Resume a schedule',
        description:
          'Slots begin again now; those of the pause are one range in the ledger. Also takes up a parked schedule again. Needs recipes:execute besides schedules:write.',
        access: 'schedules:write',
        params,
        responses: { 200: theSchedule },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params, request }) => answer(await resumeSchedule(ctx, target(params, request))),
    ),
    operation(
      {
        operationId: 'listSlots',
        method: 'get',
        path: '/{schedule}/slots',
        summary: 'Read the slot ledger of a schedule',
        access: 'schedules:read',
        params,
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Slots that were due, newest first.',
            schema: pageOf(Slot).openapi('SlotList'),
            example: examples.slots,
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params: { schedule }, query }) => reply(200, await listSlots(ctx, { ...query, id: schedule })),
    ),
  ],
}
