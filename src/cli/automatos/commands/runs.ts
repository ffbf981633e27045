import type { Command } from 'commander'
import type { ExecutionStatus } from '../../../../clients/typescript/src/index.ts'
import { followToEnd } from '../follow.ts'
import { parseLimit, showPage, takeItems, type ListOptions } from '../pages.ts'
import { paintStatus, printRun, tookOf, triggerOf } from '../run-view.ts'
import { addCommand, addGroup, type Outcome, type Session } from '../session.ts'
import { addRunControlCommands } from './run-control.ts'
import { addRunFiguresCommands } from './run-figures.ts'
import { localTime } from '../text.ts'
import { CliError } from '../cli-error.ts'

interface RunsListOptions extends ListOptions {
  status?: ExecutionStatus
  recipe?: string
  schedule?: string
}

export function addRunsCommands(program: Command, { run }: Outcome): void {
  const runs = addGroup(program, 'runs', 'Runs of recipes and agents.')

  addCommand(runs, 'list', 'List runs, newest first.', [
    'runs list',
    'runs list --recipe feed-digest --status failed --json',
  ])
    .option('--status <status>', 'queued, blocked, running, waiting, paused, succeeded, failed, canceled, timed_out')
    .option('--recipe <recipe>', 'of this recipe: slug or id')
    .option('--schedule <id>', 'of this schedule')
    .option('-n, --limit <n>', 'how many at most', parseLimit, 50)
    .action(run<[], RunsListOptions>(listRuns))

  addCommand(runs, 'show <run>', 'Show a run with its steps, input and output.', ['runs show 01939f3c-…']).action(
    run<[string], object>(async ({ api, terminal }, _, id) => {
      const { data } = await api.getExecution({ path: { execution: id } })
      if (terminal.json) return terminal.document(data)
      printRun(terminal, data, await slugOf(api, data.recipe_id))
    }),
  )

  addCommand(runs, 'follow <run>', 'Show a run while it goes. Ctrl-C lets go of it; the run goes on.', [
    'runs follow 01939f3c-…',
    'runs follow 01939f3c-… --json | jq .type',
  ])
    .option('--after <seq>', 'only events behind this number', parseSeq, 0)
    .action(run<[string], { after: number }>((session, { after }, id) => followToEnd(session, id, after)))

  addCommand(runs, 'cancel <run>', 'Cancel a run.', ['runs cancel 01939f3c-… --reason "wrong input"'])
    .option('--reason <text>', 'kept with the run')
    .action(
      run<[string], { reason?: string }>(async ({ api, terminal }, { reason }, id) => {
        const { data } = await api.cancelExecution({ path: { execution: id }, body: reason ? { reason } : {} })
        if (terminal.json) return terminal.document(data)
        const asked = data.finished_at === null ? 'is asked to end' : `has ${data.status}`
        terminal.line(`Run ${data.id} ${asked}.`)
      }),
    )

  addRunControlCommands(runs, { run })
  addRunFiguresCommands(runs, { run })
}

async function listRuns(session: Session, { limit, status, recipe, schedule }: RunsListOptions): Promise<void> {
  const { api, terminal } = session
  const filter = {
    ...(status && { status }),
    ...(recipe && { recipe_id: recipe }),
    ...(schedule && { schedule_id: schedule }),
  }
  const [page, slugs] = await Promise.all([
    takeItems(limit, (query) => api.listExecutions({ query: { ...query, ...filter } })),
    terminal.json ? new Map<string, string>() : slugsOf(api),
  ])
  showPage(
    session,
    page,
    [
      { title: 'RUN', of: ({ id }) => id, fixed: true },
      { title: 'STATUS', of: (item) => item.status, paint: (text, item) => paintStatus(terminal, item.status, text) },
      { title: 'RECIPE', of: ({ recipe_id }) => (recipe_id === null ? '' : (slugs.get(recipe_id) ?? recipe_id)) },
      { title: 'TRIGGER', of: triggerOf },
      { title: 'CREATED', of: ({ created_at }) => localTime(created_at) },
      { title: 'TOOK', of: tookOf },
    ],
    { many: 'runs' },
  )
}

/** Slugs of the newest recipes, by id. A key may see runs and not recipes; then ids have to do. */
export async function slugsOf(api: Session['api']): Promise<Map<string, string>> {
  try {
    const { data } = await api.listRecipes({ query: { limit: 200 } })
    return new Map(data.items.map(({ id, slug }) => [id, slug]))
  } catch {
    return new Map()
  }
}

async function slugOf(api: Session['api'], id: string | null): Promise<string | null> {
  if (id === null) return null
  try {
    return (await api.getRecipe({ path: { recipe: id } })).data.slug
  } catch {
    return id
  }
}

function parseSeq(text: string): number {
  if (!/^\d+$/.test(text)) throw new CliError(`--after takes the number of an event, not ${text}.`)
  return Number(text)
}
