import { z } from '@hono/zod-openapi'
import { pageOf } from '../lib/pagination.ts'
import { instant } from '../lib/time-range.ts'
import { scheduleEventTypes, slotStates } from '../services/schedules.service.ts'
import { duration, Slot, SlotPreview, timingFields } from './schedules.schemas.ts'

const scheduleId = '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f'
const recipeId = '01939f3a-11d0-7c55-8a3e-6b1f0d2c4e8a'
const backfillId = '01939f51-0a4d-7c11-8f0e-5d3c1b2a4f60'
const named = { schedule_id: scheduleId, schedule_name: 'default', recipe_id: recipeId }

const perRun = {
  cost_usd: '0.0123',
  basis: 'past_runs',
  runs: 100,
  detail: 'The median of the last 100 succeeded runs.',
}
const backfill = {
  id: backfillId,
  schedule_id: scheduleId,
  status: 'running',
  from: '2026-11-01T00:00:00.000Z',
  to: '2026-11-15T00:00:00.000Z',
  concurrency: 2,
  slots: 10,
  fired: 4,
  passed_over: 1,
  remaining: 5,
  executions: { open: 2, succeeded: 2, failed: 0, canceled: 0 },
  fault: null,
  created_at: '2026-11-22T08:00:00.000Z',
  finished_at: null,
}
const ping = {
  schedule_id: scheduleId,
  period: 86_400,
  grace: 3600,
  status: 'ok',
  last_ping_at: '2026-11-22T03:02:11.000Z',
  due_at: '2026-11-23T04:02:11.000Z',
  overdue_since: null,
  created_at: '2026-11-01T08:00:00.000Z',
  updated_at: '2026-11-01T08:00:00.000Z',
}

export const examples = {
  upcoming: {
    items: [
      {
        slot_at: '2026-11-23T06:00:00.000Z',
        fires_at: '2026-11-23T06:00:00.000Z',
        local: '2026-11-23T07:00:00+01:00',
        dst_day: false,
        dst: null,
        ...named,
        timezone: 'Europe/Berlin',
      },
    ],
    next_cursor: null,
  },
  ledger: {
    items: [
      {
        ...named,
        slot_at: '2026-11-09T06:00:00.000Z',
        status: 'missed',
        reason: 'misfire',
        execution_id: null,
        fired_at: null,
        late: false,
        slot_to: '2026-11-20T06:00:00.000Z',
        count: 10,
      },
    ],
    next_cursor: null,
  },
  alerts: {
    items: [
      {
        id: '01939f60-2b4e-7d80-9c3a-1e2f3a4b5c6d',
        type: 'schedule.slot_missed',
        schedule_id: scheduleId,
        data: {
          schedule: { id: scheduleId, name: 'default', recipe_id: recipeId },
          slots: { count: 10, first: '2026-11-09T06:00:00.000Z', last: '2026-11-20T06:00:00.000Z' },
          reason: 'misfire',
        },
        delivery: {
          status: 'delivered',
          attempts: 1,
          next_attempt_at: null,
          last_status: 204,
          last_error: null,
          delivered_at: '2026-11-22T08:00:01.000Z',
        },
        created_at: '2026-11-22T08:00:00.000Z',
      },
    ],
    next_cursor: null,
  },
  forecastRequest: { recipe_id: 'morning-digest', cron: '0 7 * * 1-5', timezone: 'Europe/Berlin', months: 2 },
  forecast: {
    timezone: 'Europe/Berlin',
    per_run: perRun,
    months: [
      {
        month: '2026-11',
        from: '2026-11-22T08:00:00.000Z',
        to: '2026-11-30T23:00:00.000Z',
        runs: 6,
        cost_usd: '0.0738',
      },
      {
        month: '2026-12',
        from: '2026-11-30T23:00:00.000Z',
        to: '2026-12-31T23:00:00.000Z',
        runs: 23,
        cost_usd: '0.2829',
      },
    ],
  },
  bulkRequest: { recipe_id: 'morning-digest' },
  bulk: {
    changed: [{ id: scheduleId, name: 'default', recipe_id: recipeId }],
    unchanged: 0,
    unknown: [],
    failed: [],
    has_more: false,
  },
  backfillRequest: { from: backfill.from, to: backfill.to, concurrency: 2 },
  backfill,
  pingRequest: { period: '1d', grace: '1h' },
  ping,
  createdPing: {
    ...ping,
    status: 'waiting',
    last_ping_at: null,
    url: 'https://automatos.example/api/pings/q0W8s2Yt7bXk3Vn5Rd1Jc9Lf4Hg6Mz0PaQeUiOyTrEw',
  },
  pong: { received_at: '2026-11-22T03:02:11.000Z' },
}

const time = (about: string) => instant().optional().openapi({ description: about })
export const recipeQuery = z
  .string()
  .min(1)
  .max(100)
  .optional()
  .openapi({ description: 'Id or slug: schedules of this recipe alone.' })
export const scheduleQuery = z.string().max(100).optional().openapi({ description: 'Id: of this schedule alone.' })
export const upcomingQuery = {
  from: time('Default, and at the earliest: now.'),
  to: time('Exclusive; at most 366 days later. Default a day later.'),
}
const stateNames = slotStates.join('|')
export const ledgerQuery = {
  state: z
    .string()
    .regex(new RegExp(`^(${stateNames})(,(${stateNames}))*$`), `must be a list of ${slotStates.join(', ')}`)
    .optional()
    .openapi({ description: `Any of ${slotStates.join(', ')}, with commas between.`, example: 'missed,late' }),
  reason: z
    .string()
    .regex(/^[a-z_]{1,50}$/, 'must be a word of small letters')
    .optional()
    .openapi({ description: 'Such as `misfire` or `overlap`.' }),
  from: time('Slots from then on, and ranges that reach beyond it.'),
  to: time('Exclusive.'),
}
export const alertsQuery = { type: z.enum(scheduleEventTypes).optional() }

const namedSlot = { schedule_id: z.uuid(), schedule_name: z.string(), recipe_id: z.uuid() }
export const UpcomingSlotList = pageOf(
  z
    .object({
      ...SlotPreview.shape,
      fires_at: z.iso.datetime().openapi({ description: 'The slot and its jitter.' }),
      ...namedSlot,
      timezone: z.string(),
    })
    .openapi('UpcomingSlot'),
).openapi('UpcomingSlotList')
export const LedgerSlotList = pageOf(z.object({ ...namedSlot, ...Slot.shape }).openapi('LedgerSlot')).openapi(
  'LedgerSlotList',
)

const when = z.iso.datetime()
export const ScheduleAlertList = pageOf(
  z
    .object({
      id: z.uuid(),
      type: z.enum(scheduleEventTypes),
      schedule_id: z.uuid(),
      data: z.record(z.string(), z.unknown()),
      delivery: z.object({
        status: z.enum(['none', 'pending', 'delivered', 'failed']).openapi({
          description: '`none`: the schedule named no address for this type.',
        }),
        attempts: z.int(),
        next_attempt_at: when.nullable(),
        last_status: z.int().nullable(),
        last_error: z.string().nullable(),
        delivered_at: when.nullable(),
      }),
      created_at: when,
    })
    .openapi('ScheduleAlert'),
).openapi('ScheduleAlertList')

export const months = z.coerce
  .number()
  .int()
  .min(1)
  .max(12)
  .default(3)
  .openapi({ description: 'Calendar months, this one included.', example: 3 })
export const ForecastRequest = z
  .strictObject({
    recipe_id: z.string().min(1).max(100).optional().openapi({ description: 'Id or slug. Without one, no cost.' }),
    ...timingFields,
    months: z.int().min(1).max(12).default(3).openapi({ description: 'Calendar months, this one included.' }),
  })
  .openapi('ForecastRequest')
const cost = z.string().nullable().openapi({ description: 'An exact decimal. Null: not known.' })
export const ScheduleForecast = z
  .object({
    timezone: z.string(),
    per_run: z.object({
      cost_usd: cost,
      basis: z.enum(['past_runs', 'price_table']).nullable().openapi({
        description: 'The median of past runs, or the prices of the models that the steps call.',
      }),
      runs: z.int().openapi({ description: 'Past runs that the median is of.' }),
      detail: z.string().openapi({ description: 'In words, also why a cost is not known.' }),
    }),
    months: z.array(
      z.object({
        month: z.string().openapi({ example: '2026-12' }),
        from: when,
        to: when.openapi({ description: 'Exclusive.' }),
        runs: z.int().openapi({ description: 'Slots; an overlap policy may leave some out.' }),
        cost_usd: cost,
      }),
    ),
  })
  .openapi('ScheduleForecast')

export const BulkTarget = z
  .strictObject({
    recipe_id: z.string().min(1).max(100).optional().openapi({ description: 'Id or slug: all of this recipe.' }),
    ids: z.array(z.string().max(100)).min(1).max(200).optional().openapi({ description: 'Ids of schedules.' }),
    all: z.literal(true).optional().openapi({ description: 'All of the workspace.' }),
  })
  .openapi('BulkTarget', { description: 'Exactly one of the three.' })
const Named = z.object({ id: z.uuid(), name: z.string(), recipe_id: z.uuid() })
export const BulkOutcome = z
  .object({
    changed: z.array(Named),
    unchanged: z.int().openapi({ description: 'How many were so already.' }),
    unknown: z.array(z.string()).openapi({ description: 'Given ids that are none of this workspace.' }),
    failed: z.array(Named.extend({ detail: z.string() })),
    has_more: z.boolean().openapi({ description: 'One call changes 500: send it again for the next.' }),
  })
  .openapi('BulkOutcome')

export const NewBackfill = z
  .strictObject({
    from: instant().openapi({ description: 'The first slot is at or after it.' }),
    to: instant().openapi({ description: 'Exclusive; not later than now.' }),
    concurrency: z
      .int()
      .min(1)
      .max(50)
      .default(1)
      .openapi({ description: 'Executions of this backfill that are open at a time.' }),
  })
  .openapi('NewBackfill')
export const Backfill = z
  .object({
    id: z.uuid(),
    schedule_id: z.uuid(),
    status: z.enum(['running', 'canceling', 'finished', 'canceled', 'failed']),
    from: when,
    to: when,
    concurrency: z.int(),
    slots: z.int().openapi({ description: 'Of the window.' }),
    fired: z.int(),
    passed_over: z.int().openapi({ description: 'Had fired before, or are not the backfill’s to fire.' }),
    remaining: z.int(),
    executions: z.object({ open: z.int(), succeeded: z.int(), failed: z.int(), canceled: z.int() }),
    fault: z.string().nullable().openapi({ description: 'Why it failed.' }),
    created_at: when,
    finished_at: when.nullable(),
  })
  .openapi('Backfill')
export const BackfillList = pageOf(Backfill).openapi('BackfillList')
export const CancelBackfill = z
  .strictObject({
    cancel_executions: z
      .boolean()
      .default(false)
      .openapi({ description: 'Cancel its open executions as well. Default: they go on.' }),
  })
  .openapi('CancelBackfill')

const period = duration('How long a silence is normal.')
const grace = duration('How much longer it may last. Default 300 seconds.')
export const NewPing = z.strictObject({ period, grace: grace.optional() }).openapi('NewPing')
export const PingChange = z.strictObject({ period: period.optional(), grace: grace.optional() }).openapi('PingChange')
export const Ping = z
  .object({
    schedule_id: z.uuid(),
    period: z.int().openapi({ description: 'Seconds.' }),
    grace: z.int().openapi({ description: 'Seconds.' }),
    status: z.enum(['waiting', 'ok', 'overdue', 'paused']).openapi({ description: '`waiting`: for the first ping.' }),
    last_ping_at: when.nullable(),
    due_at: when.nullable().openapi({ description: 'It is overdue then, unless a ping comes before.' }),
    overdue_since: when.nullable(),
    created_at: when,
    updated_at: when,
  })
  .openapi('Ping')
export const CreatedPing = Ping.extend({
  url: z.url().openapi({ description: 'What the job calls. Shown this once: only a hash of it is stored.' }),
}).openapi('CreatedPing')
export const Pong = z.object({ received_at: when }).openapi('Pong')
