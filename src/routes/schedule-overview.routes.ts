import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageQuery } from '../lib/pagination.ts'
import {
  forecastNew,
  forecastSchedule,
  listAlerts,
  listLedger,
  listUpcoming,
  pauseSchedules,
  resumeSchedules,
  type SlotState,
} from '../services/schedules.service.ts'
import {
  alertsQuery,
  BulkOutcome,
  BulkTarget,
  examples,
  ForecastRequest,
  ledgerQuery,
  LedgerSlotList,
  months,
  recipeQuery,
  ScheduleAlertList,
  ScheduleForecast,
  scheduleQuery,
  upcomingQuery,
  UpcomingSlotList,
} from './schedule-operations.schemas.ts'

const bulk = {
  description: 'What has changed, and what has not.',
  schema: BulkOutcome,
  example: examples.bulk,
}
const theForecast = {
  description: 'Runs and cost by month.',
  schema: ScheduleForecast,
  example: examples.forecast,
}

/** What concerns all schedules of a workspace. Its static paths stand before those of one schedule. */
export const scheduleOverviewRoutes: RouteGroup = {
  prefix: '/api/schedules',
  tag: 'Schedules',
  description: 'When recipes run by themselves, and the ledger of every slot: what fired, what did not, and why.',
  operations: [
    operation(
      {
        operationId: 'listUpcomingSlots',
        method: 'get',
        path: '/upcoming',
        summary: 'Show the coming slots of all schedules',
        description: 'Those that are paused or parked have none. In the order of their times.',
        access: 'schedules:read',
        query: z.object({ ...pageQuery, recipe_id: recipeQuery, ...upcomingQuery }),
        responses: {
          200: { description: 'Coming slots.', schema: UpcomingSlotList, example: examples.upcoming },
        },
        problems: ['not-found'],
      },
      async (ctx, { query }) => reply(200, await listUpcoming(ctx, query)),
    ),
    operation(
      {
        operationId: 'listLedger',
        method: 'get',
        path: '/slots',
        summary: 'Search the slot ledger of all schedules',
        description: '`state=missed,late` finds what did not go as planned. Newest first.',
        access: 'schedules:read',
        query: z.object({ ...pageQuery, schedule_id: scheduleQuery, recipe_id: recipeQuery, ...ledgerQuery }),
        responses: {
          200: { description: 'Slots that were due.', schema: LedgerSlotList, example: examples.ledger },
        },
        problems: ['not-found'],
      },
      async (ctx, { query: { state, ...query } }) =>
        // The pattern of the schema lets nothing else through.
        reply(200, await listLedger(ctx, { ...query, states: state?.split(',') as SlotState[] | undefined })),
    ),
    operation(
      {
        operationId: 'listScheduleAlerts',
        method: 'get',
        path: '/alerts',
        summary: 'List what there was to tell of schedules',
        description:
          'Slots that were missed or late, schedules that were parked, jobs that fell silent and came back; and what became of the delivery to the address that the schedule names in `alerts`. Newest first.',
        access: 'schedules:read',
        query: z.object({ ...pageQuery, schedule_id: scheduleQuery, ...alertsQuery }),
        responses: {
          200: { description: 'Events of schedules.', schema: ScheduleAlertList, example: examples.alerts },
        },
        problems: ['not-found'],
      },
      async (ctx, { query }) => reply(200, await listAlerts(ctx, query)),
    ),
    operation(
      {
        operationId: 'forecastNewSchedule',
        method: 'post',
        path: '/forecast',
        summary: 'Forecast runs and cost of a schedule before there is one',
        description: 'Writes nothing.',
        access: 'schedules:read',
        body: ForecastRequest,
        bodyExample: examples.forecastRequest,
        responses: { 200: theForecast },
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { body }) => reply(200, await forecastNew(ctx, body)),
    ),
    operation(
      {
        operationId: 'pauseSchedules',
        method: 'post',
        path: '/pause',
        summary: 'Pause many schedules',
        access: 'schedules:write',
        body: BulkTarget,
        bodyExample: examples.bulkRequest,
        responses: { 200: bulk },
        problems: ['not-found'],
      },
      async (ctx, { body }) => reply(200, await pauseSchedules(ctx, body)),
    ),
    operation(
      {
        operationId: 'resumeSchedules',
        method: 'post',
        path: '/resume',
        summary: 'Resume many schedules',
        description: 'Also takes up parked ones again. Needs recipes:execute besides schedules:write.',
        access: 'schedules:write',
        body: BulkTarget,
        bodyExample: examples.bulkRequest,
        responses: { 200: bulk },
        problems: ['not-found'],
      },
      async (ctx, { body }) => reply(200, await resumeSchedules(ctx, body)),
    ),
    operation(
      {
        operationId: 'forecastSchedule',
        method: 'get',
        path: '/{schedule}/forecast',
        summary: 'Forecast runs and cost of a schedule',
        access: 'schedules:read',
        params: z.object({ schedule: z.string().openapi({ description: 'Id of the schedule.' }) }),
        query: z.object({ months }),
        responses: { 200: theForecast },
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, query }) => reply(200, await forecastSchedule(ctx, { id: params.schedule, ...query })),
    ),
  ],
}
