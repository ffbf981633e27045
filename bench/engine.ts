import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { withEmptyDatabase } from './database.ts'
import type { Work } from './engine/contender.ts'
import { Team, type Entrant } from './engine/team.ts'
import { median, perSecond, report } from './result.ts'

// The engine against its peers on one PostgreSQL: durable runs of three steps that do nothing and whose results are
// stored, against DBOS Transact, Mastra and raw SQL that writes the engine's own rows; runs of one step against the jobs of
// pg-boss and graphile-worker. Every contender has a database, processes and ten connections of its own, and is
// used in its quickest documented way (see its file in `engine/`). Runs are started one by one, by as many starters
// as may be in flight, each of which waits for the end of its run before it starts the next; jobs all at once, which all
// that have jobs can. The contenders take turns in every round; the clock is that of this process, from the order to start
// to the word that all have ended. Afterwards the rows are counted.
// Usage: node bench/engine.ts [rounds] [milliseconds a round]
const rounds = Number(process.argv[2] ?? 5)
const roundMs = Number(process.argv[3] ?? 500)
/** Of each contender, shared by its processes. */
const connections = 10
const folder = join(import.meta.dirname, 'engine')

interface Rival extends Entrant {
  /** What it is, and which part of the engine's work is no part of its own. */
  title: string
  goal: { atLeast: number } | null
}

const { dependencies } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
const countRuns = `select count(*)::int as ended, (select count(*) from run_steps where status = 'succeeded')::int as steps
  from runs where state = 'succeeded'`
const engine: Entrant = { file: 'automatos', count: countRuns }
const byHand: Rival = {
  file: 'by-hand',
  title: 'raw SQL that writes the same rows (no lease kept, no fence checked, no fairness, nothing decided)',
  count: countRuns,
  goal: { atLeast: 0.5 },
}
const tables: { work: Work; name: string; steps: number; rivals: Rival[] }[] = [
  {
    work: 'run',
    name: 'Durable runs of three steps',
    steps: 3,
    rivals: [
      byHand,
      {
        file: 'dbos',
        title: `DBOS Transact ${dependencies['@dbos-inc/dbos-sdk']} (started directly: no queue, lease or event log)`,
        count: `select count(*)::int as ended, (select count(*) from dbos.operation_outputs)::int as steps
          from dbos.workflow_status where status = 'SUCCESS'`,
        goal: { atLeast: 10 },
      },
      {
        file: 'mastra',
        title: `Mastra ${dependencies['@mastra/core']} on PostgreSQL (no queue, lease or event log)`,
        // The input stands among the results of the steps, without a status.
        count: `select count(*)::int as ended, sum((
            select count(*) from jsonb_each(snapshot::jsonb -> 'context') as step(id, result)
            where result ->> 'status' = 'success'))::int as steps
          from mastra_workflow_snapshot where snapshot::jsonb ->> 'status' = 'success'`,
        goal: { atLeast: 10 },
      },
    ],
  },
  {
    work: 'job',
    name: 'Runs of one step as plain jobs',
    steps: 1,
    rivals: [
      {
        file: 'pg-boss',
        title: `pg-boss ${dependencies['pg-boss']} (no steps, fairness or event log)`,
        count: `select count(*)::int as ended, count(*)::int as steps from pgboss.job where state = 'completed'`,
        goal: null,
      },
      {
        file: 'graphile-worker',
        title: `graphile-worker ${dependencies['graphile-worker']} (no steps, stored results, fairness or event log)`,
        // What is done is gone: all that can be seen is that nothing is left.
        count: `select null as ended, null as steps where not exists (select from graphile_worker._private_jobs)`,
        goal: null,
      },
    ],
  },
]

if (!existsSync(join(folder, 'node_modules'))) execFileSync('npm', ['ci', '--prefix', folder], { stdio: 'inherit' })
for (const table of tables) {
  for (const processes of [1, 2]) for (const inFlight of [10, 100]) await compare(table, processes, inFlight)
}

async function compare(
  { work, name, steps, rivals }: (typeof tables)[number],
  processes: number,
  inFlight: number,
): Promise<void> {
  const contenders = [engine, ...rivals]
  await withTeams(contenders, processes, inFlight, [], async (teams) => {
    const counts: number[] = []
    for (const team of teams) {
      // Code, connections and statements grow warm; then as many as fill a round.
      await team.carryOut(work, processes * inFlight * 2)
      const rate = await team.carryOut(work, processes * inFlight * 4)
      const warm = await team.carryOut(work, evenly((rate * roundMs) / 1_000))
      counts.push(evenly((warm * roundMs) / 1_000))
    }
    const rates = teams.map((): number[] => [])
    for (let round = 0; round < rounds; round++) {
      for (const [n, team] of teams.entries()) rates[n]!.push(await team.carryOut(work, counts[n]!))
    }
    for (const team of teams) await team.check(steps)

    const [own, ...others] = rates
    for (const [n, theirs] of others.entries()) {
      const ratios = own!.map((rate, round) => rate / theirs[round]!)
      report({
        name: `${name}, ${inFlight} in flight${processes === 1 ? '' : ` in each of ${processes} processes`}`,
        against: rivals[n]!.title,
        ratio: median(ratios),
        goal: processes === 1 && inFlight === 10 ? rivals[n]!.goal : null,
        rounds: ratios,
        figures: {
          engine: perSecond(median(own!), `${work}s`),
          [rivals[n]!.file.replace('-', ' ')]: perSecond(median(theirs), `${work}s`),
        },
      })
    }
  })

  function evenly(count: number): number {
    return Math.max(1, Math.ceil(count / processes)) * processes
  }
}

/** Opens a team for each, one within the other, so that whatever happens all that was opened is closed. */
async function withTeams(
  left: Entrant[],
  processes: number,
  inFlight: number,
  open: Team[],
  use: (teams: Team[]) => Promise<void>,
): Promise<void> {
  const [next, ...rest] = left
  if (!next) return use(open)
  await withEmptyDatabase(next.file.replace('-', '_'), async (url) => {
    const team = new Team(next, url)
    try {
      // The first makes the schema.
      for (let n = 0; n < processes; n++) await team.join(inFlight, connections / processes)
      await withTeams(rest, processes, inFlight, [...open, team], use)
    } finally {
      await team.close()
    }
  })
}
