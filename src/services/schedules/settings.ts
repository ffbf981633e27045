import type { ScheduleRow, StoredAlerts, StoredMisfire } from '../../db/tables/schedules.table.ts'
import { canonicalJson } from '../../lib/canonical.ts'
import { parseDuration } from '../../lib/duration.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import type { Json } from '../../lib/json.ts'
import { parseCron } from '../../lib/slots/cron.ts'
import { nextSlots } from '../../lib/slots/slots.ts'
import type { DstPolicy } from '../../lib/slots/spec.ts'
import { isZone } from '../../lib/slots/zone.ts'
import { scheduleEventTypes } from './alerts.ts'
import { specOf, type TimingColumns } from './timing.ts'
import type { AlertSettings, MisfirePolicy, OverlapPolicy } from './types.ts'

/** What a caller may set, as it comes from the wire. Durations are texts (`90s`, `1h30m`) or whole seconds. */
export interface ScheduleSettings {
  name?: string | undefined
  cron?: string | null | undefined
  interval?: string | number | null | undefined
  timezone?: string | undefined
  grace?: string | number | undefined
  misfire?: MisfirePolicy | undefined
  overlap?: OverlapPolicy | undefined
  dst?: { gap?: DstPolicy['gap'] | undefined; fold?: DstPolicy['fold'] | undefined } | undefined
  jitter?: string | number | undefined
  start_at?: string | null | undefined
  end_at?: string | null | undefined
  input_data?: Json | undefined
  priority?: number | null | undefined
  paused?: boolean | undefined
  alerts?: AlertSettings | null | undefined
}

/** The columns that a caller decides. */
export type SettingColumns = TimingColumns &
  Pick<
    ScheduleRow,
    'name' | 'grace_s' | 'misfire' | 'overlap' | 'jitter_s' | 'input' | 'priority' | 'paused' | 'alerts'
  >

const maxIntervalSeconds = 366 * 86_400
const maxGraceSeconds = 30 * 86_400
const maxJitterSeconds = 86_400
/** A tick is at most a second late: what is later than this was held up by something worth a look. */
export const defaultLateAfterSeconds = 60
/** Slots looked at to see how close they come. */
const spacingSample = 50

export const defaultSettings = (now: Date): SettingColumns => ({
  name: 'default',
  cron: null,
  interval_s: null,
  anchor_at: wholeSecond(now),
  timezone: 'UTC',
  grace_s: 120,
  misfire: { policy: 'run_once' },
  overlap: 'skip',
  dst: { gap: 'shift', fold: 'first' },
  jitter_s: 0,
  start_at: null,
  end_at: null,
  input: {},
  priority: null,
  paused: false,
  alerts: null,
})

/** The settings after a change, checked as a whole. Throws `invalid` with every fault. */
export function applySettings(current: SettingColumns, input: ScheduleSettings, now: Date): SettingColumns {
  const faults: Fault[] = []
  const seconds = (field: 'interval' | 'grace' | 'jitter', kept: number, min: number, max: number) => {
    const given = input[field]
    return given === undefined || given === null ? kept : readSeconds(field, given, min, max, faults)
  }
  const setsCron = input.cron !== undefined && input.cron !== null
  const setsInterval = input.interval !== undefined && input.interval !== null
  if (setsCron && setsInterval)
    faults.push({ pointer: '/interval', detail: 'excludes cron: a schedule has one or the other' })

  const settings: SettingColumns = {
    anchor_at: current.anchor_at,
    name: input.name ?? current.name,
    cron: setsCron ? input.cron! : setsInterval || input.cron === null ? null : current.cron,
    interval_s: setsInterval
      ? seconds('interval', 0, 1, maxIntervalSeconds)
      : setsCron || input.interval === null
        ? null
        : current.interval_s,
    timezone: input.timezone ?? current.timezone,
    grace_s: seconds('grace', current.grace_s, 0, maxGraceSeconds),
    misfire: input.misfire === undefined ? current.misfire : toStored(input.misfire),
    overlap: input.overlap ?? current.overlap,
    dst: { gap: input.dst?.gap ?? current.dst.gap, fold: input.dst?.fold ?? current.dst.fold },
    jitter_s: seconds('jitter', current.jitter_s, 0, maxJitterSeconds),
    start_at: readTime('start_at', input.start_at, current.start_at, faults),
    end_at: readTime('end_at', input.end_at, current.end_at, faults),
    input: input.input_data ?? current.input,
    priority: input.priority === undefined ? current.priority : input.priority,
    paused: input.paused ?? current.paused,
    alerts: readAlerts(input.alerts, current.alerts, faults),
  }
  if (settings.interval_s !== current.interval_s || settings.start_at?.getTime() !== current.start_at?.getTime())
    settings.anchor_at = settings.start_at ?? wholeSecond(now)
  checkTiming(settings, now, faults)
  if (faults.length > 0) throw new AppError('invalid', 'The schedule has faults.', { errors: faults })
  return settings
}

/** What decides the slots: a change of it ends the old slots and begins new ones. */
export function hasOtherSlots(before: SettingColumns, after: SettingColumns): boolean {
  return canonicalJson(specOf(before)) !== canonicalJson(specOf(after))
}

function checkTiming(settings: SettingColumns, now: Date, faults: Fault[]) {
  const known = faults.length
  if (!isZone(settings.timezone))
    faults.push({ pointer: '/timezone', detail: 'must be an IANA time zone, such as Europe/Berlin' })
  if (settings.cron !== null) {
    const { fault } = parseCron(settings.cron, 'UTC')
    if (fault) faults.push({ pointer: '/cron', detail: fault.detail })
  } else if (settings.interval_s === null) faults.push({ pointer: '/cron', detail: 'or interval is required' })
  if (settings.start_at && settings.end_at && settings.end_at <= settings.start_at)
    faults.push({ pointer: '/end_at', detail: 'must be later than start_at' })
  // What follows computes slots, which takes settings that can be computed.
  if (faults.length === known && settings.jitter_s > 0 && settings.jitter_s * 1000 >= closestSlotsMs(settings, now))
    faults.push({ pointer: '/jitter', detail: 'must be shorter than the time between two slots' })
}

function closestSlotsMs(settings: SettingColumns, now: Date): number {
  if (settings.interval_s !== null) return settings.interval_s * 1000
  const slots = nextSlots({ ...specOf(settings), end: null }, now, spacingSample)
  return slots.reduce((least, slot, index) => {
    const before = slots[index - 1]
    return before ? Math.min(least, slot.getTime() - before.getTime()) : least
  }, Infinity)
}

function readSeconds(field: string, given: string | number, min: number, max: number, faults: Fault[]): number {
  const ms = typeof given === 'number' ? given * 1000 : parseDuration(given)
  if (ms === null) {
    faults.push({ pointer: `/${field}`, detail: 'must be a duration such as 90s or 1h30m, or a number of seconds' })
    return min
  }
  if (ms % 1000 !== 0 || ms < min * 1000 || ms > max * 1000) {
    faults.push({ pointer: `/${field}`, detail: `must be a whole number of seconds from ${min} to ${max}` })
    return min
  }
  return ms / 1000
}

function readTime(field: string, given: string | null | undefined, kept: Date | null, faults: Fault[]): Date | null {
  if (given === undefined) return kept
  if (given === null) return null
  const time = new Date(given)
  if (Number.isNaN(time.getTime())) faults.push({ pointer: `/${field}`, detail: 'must be an ISO 8601 time' })
  return time
}

function readAlerts(
  given: AlertSettings | null | undefined,
  kept: StoredAlerts | null,
  faults: Fault[],
): StoredAlerts | null {
  if (given === undefined) return kept
  if (given === null) return null
  const on = scheduleEventTypes.filter((type) => given.on === undefined || given.on.includes(type))
  const late = given.late_after ?? defaultLateAfterSeconds
  return {
    url: given.url,
    credential: given.auth?.credential ?? null,
    on,
    late_after_s: readSeconds('alerts/late_after', late, 1, maxGraceSeconds, faults),
  }
}

const toStored = (misfire: MisfirePolicy): StoredMisfire =>
  typeof misfire === 'string' ? { policy: misfire } : { policy: 'catch_up', max: misfire.catch_up }

const wholeSecond = (time: Date) => new Date(Math.floor(time.getTime() / 1000) * 1000)
