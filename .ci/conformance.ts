// Writes docs/conformance.md: how many promises of a port each adapter has kept, on each runtime. Reads the JSON reports in the
// folder that it is given; without one it runs the suites itself. Fails where an adapter that exists has not been shown.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const runtimes = ['Node', 'Bun', 'Workers'] as const
type Runtime = (typeof runtimes)[number]
const servers: Runtime[] = ['Node', 'Bun']
const everywhere: Runtime[] = [...servers, 'Workers']

/** Which adapter exists where. */
const adapters: Record<string, Record<string, Runtime[]>> = {
  db: { pglite: servers, postgres: servers, hyperdrive: ['Workers'] },
  kv: { process: everywhere, redis: servers, upstash: everywhere, 'durable-object': ['Workers'] },
  limiter: { process: everywhere, redis: servers, upstash: everywhere, 'durable-object': ['Workers'] },
  blobs: { memory: servers, folder: servers, s3: everywhere, r2: ['Workers'] },
  wake: { local: servers, 'listen-notify': servers, 'durable-object': ['Workers'] },
}

interface Report {
  testResults: { assertionResults: { ancestorTitles: string[]; title: string; status: string }[] }[]
}
interface Cell {
  passed: number
  others: string[]
}

const root = join(import.meta.dirname, '..')
const given = process.argv[2]
const folder = given ?? mkdtempSync(join(tmpdir(), 'automatos-conformance-'))
try {
  if (given === undefined) runSuites(folder)
  const cells = readReports(folder)
  const faults = judge(cells)
  for (const fault of faults) console.error(fault)
  if (faults.length > 0) process.exitCode = 1
  else writeFileSync(join(root, 'docs/conformance.md'), render(cells))
} finally {
  if (given === undefined) rmSync(folder, { recursive: true })
}

/** The test files that show an adapter, on every project. */
function runSuites(into: string): void {
  const tests = join(root, 'test')
  const files = readdirSync(tests, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts') && /'port:\w+ adapter:/.test(readFileSync(join(tests, file), 'utf8')))
    .map((file) => `test/${file}`)
  const vitest = join(root, 'node_modules/.bin/vitest')
  const commands: [report: string, program: string, ...args: string[]][] = [
    ['node', vitest, 'run', ...projects('node', 'postgres', 'redis')],
    ['bun', 'bun', '--bun', vitest, 'run', '--config', 'vitest.bun.config.ts'],
    ['workers', vitest, 'run', '--config', 'vitest.workers.config.ts', ...projects('workers')],
  ]
  for (const [report, program, ...args] of commands) {
    const options = [
      '-t',
      '^port:',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${into}/${report}.json`,
    ]
    spawnSync(program, [...args, ...options, ...files], { cwd: root, stdio: 'inherit' })
  }
}

function projects(...names: string[]): string[] {
  return names.flatMap((name) => ['--project', name])
}

function runtimeOf(report: string): Runtime {
  return report.startsWith('bun') ? 'Bun' : report.startsWith('workers') ? 'Workers' : 'Node'
}

function nameOf(port: string, adapter: string, runtime: Runtime): string {
  return `port:${port} adapter:${adapter} on ${runtime}`
}

function readReports(from: string): Map<string, Cell> {
  const cells = new Map<string, Cell>()
  for (const file of readdirSync(from)) {
    const report = JSON.parse(readFileSync(join(from, file), 'utf8')) as Report
    for (const { ancestorTitles, title, status } of report.testResults.flatMap((each) => each.assertionResults)) {
      const [, port, adapter] = /^port:(\S+) adapter:(\S+)$/.exec(ancestorTitles[0] ?? '') ?? []
      if (port === undefined || adapter === undefined) continue
      const name = nameOf(port, adapter, runtimeOf(file))
      const cell = cells.get(name) ?? { passed: 0, others: [] }
      cells.set(name, cell)
      if (status === 'passed') cell.passed++
      else cell.others.push(`${name}: ${title} (${status})`)
    }
  }
  return cells
}

function judge(cells: Map<string, Cell>): string[] {
  const declared = Object.entries(adapters).flatMap(([port, those]) =>
    Object.entries(those).flatMap(([adapter, where]) => where.map((runtime) => nameOf(port, adapter, runtime))),
  )
  const unshown = declared.filter((name) => !cells.get(name)?.passed).map((name) => `${name}: no promise is shown`)
  const unknown = [...cells.keys()].filter((name) => !declared.includes(name)).map((name) => `${name}: not declared`)
  return [...unshown, ...unknown, ...[...cells.values()].flatMap((cell) => cell.others)]
}

function render(cells: Map<string, Cell>): string {
  const rows = Object.entries(adapters).flatMap(([port, those]) =>
    Object.keys(those).map((adapter) => {
      const counts = runtimes.map((runtime) => cells.get(nameOf(port, adapter, runtime))?.passed ?? '–')
      return `| ${[port, adapter, ...counts].join(' | ')} |`
    }),
  )
  return `# Conformance

Written by the tests (\`npm run conformance\`, and each run of \`.ci/run\`, which fails where this page is not what it gives).
A number is how many promises of the port this adapter has kept on this runtime, none failed and none skipped; – where the
adapter does not exist. What the adapters are and how they are chosen: [adapters.md](adapters.md).

| port | adapter | ${runtimes.join(' | ')} |
| --- | --- | --- | --- | --- |
${rows.join('\n')}
`
}
