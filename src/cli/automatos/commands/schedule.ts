import type { Command } from 'commander'
import type { Schedule, SlotPreview } from '../../../../clients/typescript/src/index.ts'
import { CliError } from '../cli-error.ts'
import { parseLimit, showPage, takeItems, type ListOptions } from '../pages.ts'
import { addCommand, addGroup, type Outcome, type Session } from '../session.ts'
import { printTable } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { localTime, timeSpan } from '../text.ts'
import { slugsOf } from './runs.ts'

interface PreviewOptions {
  cron?: string
  interval?: string
  timezone?: string
  start?: string
}

export function addScheduleCommands(program: Command, { run }: Outcome): void {
  const schedule = addGroup(program, 'schedule', 'When recipes run by themselves.')

  addCommand(schedule, 'list', 'List schedules, newest first.', ['schedule list', 'schedule list --recipe feed-digest'])
    .option('--recipe <recipe>', 'of this recipe: slug or id')
    .option('-n, --limit <n>', 'how many at most', parseLimit, 50)
    .action(run<[], ListOptions & { recipe?: string }>(listSchedules))

  addCommand(schedule, 'preview [schedule]', 'Show the next slots of a schedule, or those that one would have.', [
    'schedule preview 01939f3c-…',
    'schedule preview --cron "0 7 * * 1-5" --timezone Europe/Vienna',
    'schedule preview --interval 90m',
  ])
    .option('--cron <expression>', 'five fields, or six with seconds first')
    .option('--interval <duration>', 'time between slots: 90s, 1h30m')
    .option('--timezone <zone>', 'IANA name of the zone of --cron; default UTC')
    .option('--start <time>', 'no slot before it')
    .action(run<[string | undefined], PreviewOptions>(previewSlots))

  for (const [verb, past] of [
    ['pause', 'paused'],
    ['resume', 'resumed'],
  ] as const) {
    const description = verb === 'pause' ? 'Fire nothing until it is resumed.' : 'Fire again from now on.'
    addCommand(schedule, `${verb} <schedule>`, description, [`schedule ${verb} 01939f3c-…`]).action(
      run<[string], object>(async ({ api, terminal }, _, id) => {
        const path = { schedule: id }
        const { data } = await (verb === 'pause' ? api.pauseSchedule({ path }) : api.resumeSchedule({ path }))
        if (terminal.json) return terminal.document(data)
        terminal.line(`Schedule ${data.id} (${timesOf(data)}) is ${past}.`)
        if (data.next_slots[0]) terminal.line(`Next: ${localTime(data.next_slots[0].slot_at)}`)
      }),
    )
  }
}

async function listSchedules(session: Session, { limit, recipe }: ListOptions & { recipe?: string }): Promise<void> {
  const { api, terminal } = session
  const filter = recipe === undefined ? {} : { recipe_id: recipe }
  const [page, slugs] = await Promise.all([
    takeItems(limit, (query) => api.listSchedules({ query: { ...query, ...filter } })),
    terminal.json ? new Map<string, string>() : slugsOf(api),
  ])
  showPage(
    session,
    page,
    [
      { title: 'SCHEDULE', of: ({ id }) => id, fixed: true },
      { title: 'RECIPE', of: ({ recipe_id }) => slugs.get(recipe_id) ?? recipe_id },
      { title: 'NAME', of: ({ name }) => name },
      { title: 'TIMES', of: timesOf },
      { title: 'STATUS', of: ({ status }) => status, paint: (text, item) => paintState(terminal, item, text) },
      { title: 'NEXT', of: ({ next_slots, paused }) => (paused ? '' : localTime(next_slots[0]?.slot_at)) },
    ],
    { many: 'schedules' },
  )
}

async function previewSlots({ api, terminal }: Session, options: PreviewOptions, id?: string): Promise<void> {
  const { cron, interval, timezone, start } = options
  if ((id === undefined) === (cron === undefined && interval === undefined)) {
    throw new CliError('Give the id of a schedule, or --cron or --interval.')
  }
  const { data } =
    id === undefined
      ? await api.previewSchedule({
          body: {
            ...(cron !== undefined && { cron }),
            ...(interval !== undefined && { interval }),
            ...(timezone !== undefined && { timezone }),
            ...(start !== undefined && { start_at: start }),
          },
        })
      : await api.getSchedule({ path: { schedule: id } })
  const { next_slots } = data
  if (terminal.json) return terminal.document({ timezone: data.timezone, next_slots })
  if (next_slots.length === 0) return terminal.note('No slot is left.')
  printTable<SlotPreview>(terminal, next_slots, [
    { title: data.timezone.toUpperCase(), of: ({ local }) => local, fixed: true },
    { title: 'UTC', of: ({ slot_at }) => slot_at, fixed: true },
    { title: 'CLOCK CHANGE', of: ({ dst, dst_day }) => dst?.replaceAll('_', ' ') ?? (dst_day ? 'on this day' : '') },
  ])
}

const timesOf = ({ cron, interval, timezone }: Schedule): string =>
  cron === null ? `every ${timeSpan((interval ?? 0) * 1000)}` : `${cron} ${timezone}`

function paintState({ style }: Terminal, { status }: Schedule, text: string): string {
  if (status === 'parked') return style.red(text)
  return status === 'active' ? style.green(text) : style.yellow(text)
}
