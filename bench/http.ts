import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// What the pipeline costs: the product's whole pass against bare Hono on the same server, in short interleaved rounds.
// Compared is the processor time a request takes, which a busy machine distorts far less than requests a second.
// Needs Linux and wrk. Usage: node bench/http.ts [rounds] [seconds a round]
const rounds = Number(process.argv[2] ?? 7)
const seconds = Number(process.argv[3] ?? 2)
const connections = 64

interface Started {
  pid: number
  port: number
  key: string
}
interface Sample {
  rate: number
  cpuUs: number
}
interface Target {
  name: string
  server: 'bare' | 'product'
  script: 'get' | 'post'
}
const targets: Target[] = [
  { name: 'GET, bare Hono', server: 'bare', script: 'get' },
  { name: 'GET with key and all layers', server: 'product', script: 'get' },
  { name: 'POST, bare Hono', server: 'bare', script: 'post' },
  { name: 'POST with key, all layers and validation', server: 'product', script: 'post' },
]

const folder = mkdtempSync(join(tmpdir(), 'automatos-bench-'))
const children: ChildProcess[] = []
try {
  const servers = { bare: await start('bare'), product: await start('product') }
  const results = new Map<string, Sample[]>(targets.map(({ name }) => [name, []]))
  for (const target of targets) measure(target, servers[target.server], 1)
  for (let round = 0; round < rounds; round++) {
    for (const target of targets) results.get(target.name)!.push(measure(target, servers[target.server], seconds))
  }
  for (const [name, samples] of results) {
    const rate = Math.round(median(samples.map((sample) => sample.rate)))
    const cpuUs = median(samples.map((sample) => sample.cpuUs)).toFixed(1)
    process.stdout.write(`${name.padEnd(44)} ${cpuUs.padStart(6)} µs CPU a request, ${rate} req/s\n`)
  }
  for (const method of ['GET', 'POST']) {
    const [bare, product] = targets.filter(({ name }) => name.startsWith(method)).map(({ name }) => results.get(name)!)
    const ratios = bare!.map((sample, round) => sample.cpuUs / product![round]!.cpuUs)
    process.stdout.write(
      `${method}: ${median(ratios).toFixed(2)} of bare Hono (rounds ${ratios.map((ratio) => ratio.toFixed(2)).join(' ')})\n`,
    )
  }
} finally {
  for (const child of children) child.kill()
  rmSync(folder, { recursive: true, force: true })
}

async function start(kind: Target['server']): Promise<Started> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'http-server.ts'), kind], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  const ended = once(child, 'exit').then(() => {
    throw new Error(`The ${kind} server did not start.`)
  })
  const [line] = (await Promise.race([once(child.stdout!.setEncoding('utf8'), 'data'), ended])) as [string]
  return { pid: child.pid!, ...(JSON.parse(line) as { port: number; key: string }) }
}

function measure({ script, name }: Target, { pid, port, key }: Started, duration: number): Sample {
  const file = join(folder, `${script}-${port}.lua`)
  const lines =
    script === 'get'
      ? [`wrk.headers["Authorization"] = "Bearer ${key}"`]
      : [
          'wrk.method = "POST"',
          `wrk.headers["Authorization"] = "Bearer ${key}"`,
          'wrk.headers["Content-Type"] = "application/json"',
          `wrk.body = '{"name":"Morning digest","size":3,"tags":["a","b"]}'`,
        ]
  writeFileSync(file, lines.join('\n'))
  const path = script === 'get' ? '/api/things/42' : '/api/things'
  const before = cpuUsOf(pid)
  const report = execFileSync(
    'wrk',
    ['-t1', `-c${connections}`, `-d${duration}s`, '-s', file, `http://127.0.0.1:${port}${path}`],
    { encoding: 'utf8' },
  )
  if (/Non-2xx/.test(report)) throw new Error(`${name} was refused:\n${report}`)
  const requests = Number(/(\d+) requests in/.exec(report)?.[1])
  return { rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(report)?.[1]), cpuUs: (cpuUsOf(pid) - before) / requests }
}

/** User and system time of a process so far; the kernel counts it in hundredths of a second. */
function cpuUsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}
