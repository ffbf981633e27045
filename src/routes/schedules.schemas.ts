import { z } from '@hono/zod-openapi'
import type { Json } from '../lib/json.ts'
import { instant } from '../lib/time-range.ts'
import { scheduleEventTypes } from '../services/schedules.service.ts'

const id = '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f'
const recipeId = '01939f3a-11d0-7c55-8a3e-6b1f0d2c4e8a'

const example = {
  id,
  recipe_id: recipeId,
  name: 'default',
  cron: '0 7 * * 1-5',
  interval: null,
  timezone: 'Europe/Berlin',
  grace: 120,
  misfire: 'run_once',
  overlap: 'skip',
  dst: { gap: 'shift', fold: 'first' },
  jitter: 0,
  start_at: null,
  end_at: null,
  input_data: { feed_url: 'https://example.com/feed.xml' },
  priority: null,
  paused: false,
  alerts: null,
  status: 'active',
  overdue_since: null,
  fault: null,
  next_slots: [
    { slot_at: '2026-11-23T06:00:00.000Z', local: '2026-11-23T07:00:00+01:00', dst_day: false, dst: null },
    { slot_at: '2026-11-24T06:00:00.000Z', local: '2026-11-24T07:00:00+01:00', dst_day: false, dst: null },
    { slot_at: '2026-11-25T06:00:00.000Z', local: '2026-11-25T07:00:00+01:00', dst_day: false, dst: null },
    { slot_at: '2026-11-26T06:00:00.000Z', local: '2026-11-26T07:00:00+01:00', dst_day: false, dst: null },
    { slot_at: '2026-11-27T06:00:00.000Z', local: '2026-11-27T07:00:00+01:00', dst_day: false, dst: null },
  ],
  created_at: '2026-11-22T08:00:00.000Z',
  updated_at: '2026-11-22T08:00:00.000Z',
}

export const examples = {
  schedule: example,
  create: {
    recipe_id: 'morning-digest',
    cron: example.cron,
    timezone: example.timezone,
    input_data: example.input_data,
  },
  change: { cron: '30 7 * * 1-5', overlap: 'queue' },
  preview: { cron: '30 2 * * *', timezone: 'America/New_York', start_at: '2027-03-13T00:00:00Z' },
  previewed: {
    timezone: 'America/New_York',
    next_slots: [
      { slot_at: '2027-03-13T07:30:00.000Z', local: '2027-03-13T02:30:00-05:00', dst_day: false, dst: null },
      { slot_at: '2027-03-14T07:00:00.000Z', local: '2027-03-14T03:00:00-04:00', dst_day: true, dst: 'shifted' },
      { slot_at: '2027-03-15T06:30:00.000Z', local: '2027-03-15T02:30:00-04:00', dst_day: false, dst: null },
      { slot_at: '2027-03-16T06:30:00.000Z', local: '2027-03-16T02:30:00-04:00', dst_day: false, dst: null },
      { slot_at: '2027-03-17T06:30:00.000Z', local: '2027-03-17T02:30:00-04:00', dst_day: false, dst: null },
    ],
  },
  slots: {
    items: [
      {
        slot_at: '2026-11-24T06:00:00.000Z',
        status: 'fired',
        reason: null,
        execution_id: '01939f40-7e0b-7d21-b1f4-0c9a5e3d7f12',
        fired_at: '2026-11-24T06:00:00.412Z',
        late: false,
      },
      {
        slot_at: '2026-11-09T06:00:00.000Z',
        status: 'skipped',
        reason: 'paused',
        execution_id: null,
        fired_at: null,
        late: false,
        slot_to: '2026-11-23T06:00:00.000Z',
        count: 11,
      },
    ],
    next_cursor: null,
  },
}

export const duration = (about: string) =>
  z
    .union([z.string().min(1).max(60), z.number()])
    .openapi({ description: `${about} A duration such as 90s or 1h30m, or a number of seconds.` })

const misfire = z
  .union([z.enum(['skip', 'run_once']), z.strictObject({ catch_up: z.int().min(1).max(1000) })], {
    error: 'must be "skip", "run_once" or {"catch_up": 1 to 1000}',
  })
  .openapi({
    description:
      'What happens to slots later than `grace`: none, the latest one, or the latest n fire. Default run_once.',
  })
const overlap = z.enum(['allow', 'skip', 'queue', 'cancel_previous']).openapi({
  description: 'What happens to a slot while a run of this schedule is still open. Default skip.',
})
const gap = z.enum(['shift', 'skip']).openapi({
  description: 'A fixed time that a clock change leaves out: fire at the end of the gap, or not. Default shift.',
})
const fold = z.enum(['first', 'both']).openapi({
  description: 'A fixed time that a clock change repeats: fire once, or twice. Default first.',
})
// Described by hand: the schema of any JSON value contains itself, which the generator of the document cannot follow.
const json: z.ZodType<Json> = z.json().openapi({ type: ['object', 'array', 'string', 'number', 'boolean', 'null'] })

const eventTypes = z.array(z.enum(scheduleEventTypes)).min(1)
const credential = z.strictObject({ credential: z.string().min(1).max(63) })
const alerts = z
  .strictObject({
    url: z
      .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
      .max(2000)
      .openapi({
        description: 'Gets a POST for each event, again and again until it answers 2xx, for most of a day.',
      }),
    auth: credential.nullable().optional().openapi({ description: 'Slug of a stored credential to send along.' }),
    on: eventTypes.optional().openapi({ description: 'Types of events to send. Default all.' }),
    late_after: duration('How late a slot must fire to be told as late. Default 60 seconds.').optional(),
  })
  .openapi({ description: 'Where events of this schedule are posted to.' })

const timing = {
  cron: z
    .string()
    .min(1)
    .max(200)
    .openapi({ description: 'Five fields, or six with seconds first. Excludes `interval`.', example: '0 7 * * 1-5' }),
  interval: duration('Time between slots, one second at least, whatever the clocks do. Excludes `cron`.'),
  timezone: z
    .string()
    .min(1)
    .max(64)
    .openapi({ description: 'IANA name of the zone that `cron` speaks of. Default UTC.', example: 'Europe/Berlin' }),
  dst: z.strictObject({ gap: gap.optional(), fold: fold.optional() }),
  start_at: instant().openapi({ description: 'No slot before it; an interval counts from it.' }),
  end_at: instant().openapi({ description: 'No slot at or after it.' }),
  jitter: duration(
    'Each slot fires up to this much later, always by the same amount for the same schedule and slot. Default 0.',
  ),
}
const behaviour = {
  name: z
    .string()
    .trim()
    .min(1)
    .max(100)
    .openapi({ description: 'Unique among the schedules of its recipe. Default `default`.' }),
  grace: duration('How late a slot may still fire as if nothing had happened. Default 120 seconds.'),
  misfire,
  overlap,
  input_data: z
    .record(z.string(), json)
    .openapi({ description: "Input of every run; checked against the recipe's inputs." }),
  priority: z
    .int()
    .min(-100)
    .max(100)
    .nullable()
    .openapi({ description: 'Of its executions: higher goes first. Null, the default: what the recipe says.' }),
  paused: z.boolean().openapi({ description: 'A paused schedule fires nothing until it is resumed.' }),
  alerts: alerts.nullable(),
}

export const NewSchedule = z
  .strictObject({
    recipe_id: z.string().min(1).max(100).openapi({ description: 'Id or slug of the recipe to run.' }),
    ...z.strictObject({ ...timing, ...behaviour }).partial().shape,
  })
  .openapi('NewSchedule')

export const timingFields = z.strictObject(timing).partial().shape
export const ScheduleTiming = z.strictObject(timing).partial().openapi('ScheduleTiming')

export const ScheduleChange = z
  .strictObject({
    ...z.strictObject({ ...timing, ...behaviour }).partial().shape,
    start_at: timing.start_at.nullable().optional(),
    end_at: timing.end_at.nullable().optional(),
  })
  .openapi('ScheduleChange')

export const SlotPreview = z
  .object({
    slot_at: z.iso.datetime(),
    local: z.string().openapi({ description: "The same instant on the wall clock of the schedule's zone." }),
    dst_day: z.boolean().openapi({ description: 'True on a local day whose clocks change.' }),
    dst: z
      .enum(['shifted', 'first_of_two', 'second_of_two'])
      .nullable()
      .openapi({ description: 'What the change of the clocks does to this very slot.' }),
  })
  .openapi('SlotPreview')
const nextSlots = z.array(SlotPreview).openapi({ description: 'The next five.' })

export const SchedulePreview = z.object({ timezone: z.string(), next_slots: nextSlots }).openapi('SchedulePreview')

export const Schedule = z
  .object({
    id: z.uuid(),
    recipe_id: z.uuid(),
    name: z.string(),
    cron: z.string().nullable(),
    interval: z.int().nullable().openapi({ description: 'Seconds.' }),
    timezone: z.string(),
    grace: z.int().openapi({ description: 'Seconds.' }),
    misfire,
    overlap,
    dst: z.object({ gap, fold }),
    jitter: z.int().openapi({ description: 'Seconds.' }),
    start_at: z.iso.datetime().nullable(),
    end_at: z.iso.datetime().nullable(),
    input_data: z.record(z.string(), json),
    priority: z.int().nullable(),
    paused: z.boolean(),
    alerts: z
      .object({
        url: z.string(),
        auth: credential.nullable(),
        on: eventTypes,
        late_after: z.int().openapi({ description: 'Seconds.' }),
      })
      .nullable(),
    status: z.enum(['active', 'paused', 'finished', 'parked', 'overdue']).openapi({
      description:
        '`finished`: no slot is left. `parked`: its slots could not be computed, see `fault`. `overdue`: it fires, but the outside job of its ping address is silent.',
    }),
    overdue_since: z.iso.datetime().nullable(),
    fault: z.string().nullable(),
    next_slots: nextSlots,
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('Schedule')

export const Slot = z
  .object({
    slot_at: z.iso.datetime(),
    status: z.enum(['fired', 'skipped', 'missed', 'coalesced', 'pending']),
    reason: z.string().nullable(),
    execution_id: z.uuid().nullable(),
    fired_at: z.iso.datetime().nullable(),
    late: z.boolean().openapi({ description: 'It fired more than two seconds after its time.' }),
    slot_to: z.iso.datetime().optional().openapi({ description: 'Of a range: its last slot.' }),
    count: z.int().optional().openapi({ description: 'Of a range: how many slots it stands for.' }),
  })
  .openapi('Slot')
