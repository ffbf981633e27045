import type { Command } from 'commander'
import { addCommand, type Outcome, type Session } from '../session.ts'
import { printFields, printTable } from '../table.ts'
import { localTime, timeSpan } from '../text.ts'
import { wholeNumber } from '../whole-number.ts'

interface StatsOptions {
  recipe?: string
  from?: string
  to?: string
}

export function addRunFiguresCommands(runs: Command, { run }: Pick<Outcome, 'run'>): void {
  addCommand(runs, 'stats', 'Show what the runs of a time came to.', [
    'runs stats',
    'runs stats --recipe feed-digest --from 2026-11-01T00:00:00Z --json',
  ])
    .option('--recipe <recipe>', 'of this recipe: slug or id')
    .option('--from <time>', 'runs created from then on; default a day ago')
    .option('--to <time>', 'runs created before; default now')
    .action(run<[], StatsOptions>(showStats))

  addCommand(runs, 'stuck', 'Find runs that are stuck or orphaned, by facts of the database.', ['runs stuck --json'])
    .option(
      '--days <n>',
      'how far back to look for runs that nothing points to any more; default 7',
      wholeNumber('--days'),
    )
    .action(run<[], { days?: number }>(showStuck))
}

async function showStats({ api, terminal }: Session, { recipe, from, to }: StatsOptions): Promise<void> {
  const { data } = await api.getExecutionStats({
    query: { ...(recipe && { recipe_id: recipe }), ...(from && { from }), ...(to && { to }) },
  })
  if (terminal.json) return terminal.document(data)
  const took = (ms: number | null) => (ms === null ? 'not measured' : timeSpan(ms))
  const counts = Object.entries(data.by_status).filter(([, count]) => count > 0)
  printFields(terminal, [
    ['from', localTime(data.from)],
    ['to', localTime(data.to)],
    ['runs', counts.length === 0 ? '0' : `${data.total}: ${counts.map(([name, n]) => `${n} ${name}`).join(', ')}`],
    ['succeeded', data.success_rate === null ? 'not measured' : `${(data.success_rate * 100).toFixed(1)} %`],
    ['took', `${took(data.duration_ms.p50)} (median), ${took(data.duration_ms.p95)} (95 %)`],
    ['queued for', `${took(data.queue_ms.p50)} (median), ${took(data.queue_ms.p95)} (95 %)`],
    ['cost', data.usage.cost_usd === null ? 'not known' : `${data.usage.cost_usd} USD`],
    ['now', `${data.now.running} running, ${data.now.ready} ready`],
  ])
  if (data.by_recipe.length === 0) return
  terminal.line()
  printTable(terminal, data.by_recipe, [
    { title: 'RECIPE', of: ({ slug, recipe_id }) => slug ?? recipe_id ?? 'agents alone', fixed: true },
    { title: 'RUNS', of: ({ total }) => total },
    { title: 'FAILED', of: ({ failed }) => failed },
    { title: 'TOOK', of: ({ duration_ms }) => took(duration_ms.p50) },
    { title: 'COST', of: ({ usage }) => usage.cost_usd ?? 'not known' },
  ])
}

async function showStuck({ api, terminal }: Session, { days }: { days?: number }): Promise<void> {
  const { data } = await api.findStuckExecutions({ query: days === undefined ? {} : { days } })
  if (terminal.json) return terminal.document(data)
  const found = data.findings.filter(({ count }) => count > 0)
  if (found.length === 0) return terminal.note('Nothing is stuck.')
  for (const { kind, count, description, executions } of found) {
    terminal.line(`${terminal.style.bold(kind)} ${count}  ${terminal.style.dim(description)}`)
    for (const { id, status, overdue_ms, worker } of executions) {
      const since = overdue_ms === null ? '' : `  by ${timeSpan(overdue_ms)}`
      terminal.line(`  ${id}  ${status}${since}${worker === null ? '' : `  ${worker}`}`)
    }
  }
}
