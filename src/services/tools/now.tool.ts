import { ToolError, type Tool } from './tool.ts'

export const nowTool: Tool = {
  name: 'now',
  description: 'The date and time at which this run takes place, in UTC and in a time zone of your choice.',
  parameters: {
    type: 'object',
    properties: { timezone: { type: 'string', description: 'IANA time zone, for example Europe/Oslo. Default: UTC.' } },
    additionalProperties: false,
  },
  reachesOut: false,
  async run(_ctx, args, { now }) {
    const timezone = typeof args['timezone'] === 'string' ? args['timezone'] : 'UTC'
    return { utc: now.toISOString(), timezone, ...localTime(now, timezone) }
  },
}

function localTime(now: Date, timeZone: string): { local: string; weekday: string } {
  let format: Intl.DateTimeFormat
  try {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      weekday: 'long',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
      timeZoneName: 'longOffset',
    })
  } catch {
    throw new ToolError('invalid-arguments', `'${timeZone.slice(0, 60)}' is no IANA time zone.`)
  }
  const parts = Object.fromEntries(format.formatToParts(now).map(({ type, value }) => [type, value]))
  const offset = parts['timeZoneName']?.replace('GMT', '') || '+00:00'
  return {
    local: `${parts['year']}-${parts['month']}-${parts['day']}T${parts['hour']}:${parts['minute']}:${parts['second']}${offset}`,
    weekday: parts['weekday'] ?? '',
  }
}
