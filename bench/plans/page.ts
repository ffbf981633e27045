import { availableParallelism, cpus, totalmem } from 'node:os'
import type { Filled } from './fill.ts'
import type { PlanNode, Recorded } from './recorder.ts'

export interface Measured {
  group: string
  name: string
  because?: string | undefined
  recorded: Recorded
}

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })
const ms = (value: number) => (value < 10 ? value.toFixed(2) : whole.format(value))

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)]
const isScan = (node: PlanNode) => node['Relation Name'] !== undefined || node['Index Name'] !== undefined

/** Rows that the plan has touched in tables and indexes, those included that it had no use for. */
export function rowsLookedAt({ first: { Plan } }: Recorded): number {
  const touched = nodesOf(Plan)
    .filter((node) => isScan(node) && node['Node Type'] !== 'ModifyTable')
    .map(
      (node) =>
        (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0)) *
        node['Actual Loops'],
    )
  return touched.reduce((sum, rows) => sum + rows, 0)
}

/** "Index Scan runs_by_workspace": each way to a table that was really taken. */
function waysTaken({ first: { Plan } }: Recorded): string {
  const ways = nodesOf(Plan)
    .filter((node) => isScan(node) && node['Node Type'] !== 'ModifyTable' && node['Actual Loops'] > 0)
    .map((node) => {
      const target = node['Index Name'] ?? node['Relation Name']
      return node['Index Name'] ? `\`${target}\`` : `${node['Node Type']} of \`${target}\``
    })
  return [...new Set(ways)].join(', ') || 'no table'
}

/** False for a question that no table answers, such as what time it is. */
export const concernsTables = ({ first: { Plan } }: Recorded): boolean => nodesOf(Plan).some(isScan)

/** The page `docs/query-plans.md`. */
export function page(filled: Filled, measured: Measured[], server: string): string {
  const groups = [...new Set(measured.map(({ group }) => group))]
  const rows = Object.entries(filled.rows).map(([table, count]) => `\`${table}\` ${whole.format(count)}`)
  const tables = groups.map((group) => {
    const lines = measured
      .filter((each) => each.group === group)
      .map(({ name, recorded }) => {
        const { Plan } = recorded.first
        const buffers = Plan['Shared Hit Blocks'] + Plan['Shared Read Blocks']
        return `| ${name} | ${whole.format(rowsLookedAt(recorded))} | ${whole.format(buffers)} | ${ms(recorded.first['Execution Time'])} | ${ms(recorded.again['Execution Time'])} | ${waysTaken(recorded)} |`
      })
    return `## ${group}\n\n| statement | rows looked at | pages | first, ms | again, ms | ways |\n|---|---|---|---|---|---|\n${lines.join('\n')}${notesOn(measured, group)}`
  })
  const plans = measured.map(
    ({ group, name, recorded }) => `### ${group}: ${name}\n\n\`\`\`text\n${shortened(recorded.text)}\n\`\`\``,
  )
  return `# Query plans at ${whole.format(filled.rows['runs'] ?? 0)} runs

Written by \`node bench/plans.ts\`, which builds the database, calls the product's own code and explains every statement that it
sends before it is carried out. Tables: ${rows.join(', ')}; 1,000 workspaces, of which the largest has a sixth of all runs
and is the one that is asked about; ${whole.format(filled.megabytes)} MB in all. Steps and events are there for the latest tenth of the runs.
${server} on ${cpus()[0]?.model.trim() || 'an unnamed processor'}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GB.

*Rows looked at* counts what the plan touched in tables and indexes, whether it was of use or not; *pages* are 8 KB each.
*First* is the statement as it was met, with pages to be read; *again* is the same a moment later. A way is an index unless it says
otherwise. Statements that write were rolled back after each of the two.

${tables.join('\n\n')}

## The plans

${plans.join('\n\n')}
`
}

/** Why some look at more than they answer. */
function notesOn(measured: Measured[], group: string): string {
  const notes = measured.flatMap(({ because, ...each }) =>
    each.group === group && because ? [`- *${each.name}*: ${because}`] : [],
  )
  return notes.length === 0 ? '' : `\n\n${notes.join('\n')}`
}

/** Parameters and long lists fill the page and say nothing. */
const shortened = (text: string) =>
  text
    .split('\n')
    .map((line) => (line.length > 240 ? `${line.slice(0, 237)}...` : line))
    .join('\n')
