// All benches, one after the other; each measures what it compares in turn, in one run. Writes docs/benchmarks.md.
// Usage: npm run bench [name ...], with names such as http; with names the page stays as it is.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { goalOf, type BenchResult } from './result.ts'
import { soakSectionOf } from './soak/section.ts'

const benches = ['http', 'runs', 'engine', 'schedules', 'rls', 'start', 'bundle']
const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !benches.includes(name))
if (unknown.length > 0) throw new Error(`There is no bench ${unknown.join(', ')}. There are: ${benches.join(', ')}.`)

const folder = mkdtempSync(join(tmpdir(), 'automatos-bench-'))
const file = join(folder, 'results.jsonl')
try {
  for (const bench of wanted.length > 0 ? wanted : benches) {
    console.log(`== ${bench}`)
    const child = spawn(process.execPath, [join(import.meta.dirname, `${bench}.ts`)], {
      stdio: 'inherit',
      env: { ...process.env, BENCH_RESULTS: file },
    })
    const [code] = (await once(child, 'exit')) as [number | null]
    if (code !== 0) throw new Error(`The bench ${bench} failed.`)
  }
  if (wanted.length === 0 && existsSync(file)) {
    const results = readFileSync(file, 'utf8').trim().split('\n')
    const written = join(import.meta.dirname, '../docs/benchmarks.md')
    // The soak takes half an hour and is run for itself: what it found stays.
    const soak = existsSync(written) ? soakSectionOf(readFileSync(written, 'utf8')) : ''
    writeFileSync(written, page(results.map((line) => JSON.parse(line))) + soak)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function page(results: BenchResult[]): string {
  const rows = results.map((result) => {
    const figures = Object.entries(result.figures).map(([name, value]) => `${name} ${value}`)
    const range =
      result.rounds.length > 1
        ? ` (${Math.min(...result.rounds).toFixed(2)} to ${Math.max(...result.rounds).toFixed(2)})`
        : ''
    return `| ${result.name} | **${result.ratio.toFixed(2)}**${range} | ${result.against} | ${goalOf(result)} | ${figures.join('; ')} |`
  })
  return `# Benchmarks

Written by \`npm run bench\`, which measures everything anew. A ratio compares two things that were measured in turn in the
same run; it is the median of the rounds, with the least and the most behind it. The absolute figures belong to one
machine and say little about another: ${cpus()[0]?.model.trim() || 'an unnamed processor'}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GB, ${process.platform}, Node ${process.versions.node}, PostgreSQL on the same machine.

| what | ratio | of | goal | figures |
|---|---|---|---|---|
${rows.join('\n')}

The goals are those of Node; Bun is measured beside it. What each compares and how is at the head of its file in
\`bench/\`. HTTP and starts need Linux and \`wrk\`; runs, engine, schedules and rls
need a PostgreSQL (\`TEST_POSTGRES_URL\`). What the engine is measured against is a package of its own, \`bench/engine\`, which the
bench installs when it is not there.
`
}
