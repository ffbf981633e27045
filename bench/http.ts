import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { withDatabase } from './database.ts'
import { median, perSecond, report } from './result.ts'

// What the pipeline costs: the whole product (its routes, all layers, a key, validation) against bare Hono, on Node and
// on Bun. Compared is the processor time a request takes. In each round both are under the same load at the same time and
// share one processor, the load generators another, so that whatever the machine does in between falls on both: one after
// the other, or on processors of their own, they meet a machine whose speed is another one. Needs Linux with two processors
// and wrk.
// Usage: node bench/http.ts [rounds] [seconds a round]
const rounds = Number(process.argv[2] ?? 15)
const seconds = Number(process.argv[3] ?? 1)
const connections = 64
const serverCpu = '0'
const loadCpu = '1'
/** Until both run as they will: code compiled, heap grown. */
const warmUpSeconds = 6

type Kind = 'bare' | 'product'
const programs = { Node: process.execPath, Bun: 'bun' } as const
type Platform = keyof typeof programs
const methods = { get: 'GET with a key', post: 'POST with a key and validation' } as const
type Method = keyof typeof methods

interface Server {
  pid: number
  port: number
  key: string
}
interface Sample {
  rate: number
  cpuUs: number
}

const folder = mkdtempSync(join(tmpdir(), 'automatos-bench-'))
const children: ChildProcess[] = []
try {
  await withDatabase(async ({ url }) => {
    for (const platform of Object.keys(programs) as Platform[]) await compare(platform, url)
  })
} finally {
  for (const child of children) child.kill()
  rmSync(folder, { recursive: true, force: true })
}

async function compare(platform: Platform, databaseUrl: string): Promise<void> {
  const servers = {
    bare: await start(platform, 'bare', databaseUrl),
    product: await start(platform, 'product', databaseUrl),
  }
  const samples = { get: [] as Record<Kind, Sample>[], post: [] as Record<Kind, Sample>[] }
  const both = async (method: Method, duration: number): Promise<Record<Kind, Sample>> => {
    const [bare, product] = await Promise.all([
      measure(method, servers.bare, duration),
      measure(method, servers.product, duration),
    ])
    return { bare, product }
  }
  for (const method of ['get', 'post'] as const) await both(method, warmUpSeconds)
  for (let round = 0; round < rounds; round++) {
    for (const method of ['get', 'post'] as const) samples[method].push(await both(method, seconds))
  }
  const alone = { get: {} as Record<Kind, number>, post: {} as Record<Kind, number> }
  for (const method of ['get', 'post'] as const) {
    for (const kind of ['bare', 'product'] as const)
      alone[method][kind] = (await measure(method, servers[kind], 3)).rate
  }
  for (const method of ['get', 'post'] as const) {
    const ratios = samples[method].map(({ bare, product }) => bare.cpuUs / product.cpuUs)
    const middle = (kind: Kind, of: keyof Sample) => median(samples[method].map((sample) => sample[kind][of]))
    report({
      name: `${methods[method]}, ${platform}`,
      against: 'bare Hono, by processor time a request',
      ratio: median(ratios),
      goal: platform === 'Node' ? { atLeast: 0.7 } : null,
      rounds: ratios,
      figures: {
        product: `${middle('product', 'cpuUs').toFixed(1)} µs`,
        'bare Hono': `${middle('bare', 'cpuUs').toFixed(1)} µs`,
        'product alone serves': perSecond(alone[method].product, 'requests'),
        'bare Hono alone serves': perSecond(alone[method].bare, 'requests'),
      },
    })
  }
  const memory = { bare: residentMb(servers.bare.pid), product: residentMb(servers.product.pid) }
  report({
    name: `Memory after that load, ${platform}`,
    against: 'bare Hono',
    ratio: memory.product / memory.bare,
    goal: { atMost: 2.5 },
    rounds: [memory.product / memory.bare],
    figures: { product: `${memory.product.toFixed(0)} MB`, 'bare Hono': `${memory.bare.toFixed(0)} MB` },
  })
}

async function start(platform: Platform, kind: Kind, databaseUrl: string): Promise<Server> {
  const program = [programs[platform], join(import.meta.dirname, 'http-server.ts'), kind, databaseUrl]
  const child = spawn('taskset', ['-c', serverCpu, ...program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  const ended = once(child, 'exit').then(() => {
    throw new Error(`The ${kind} server on ${platform} did not start.`)
  })
  ended.catch(() => {})
  const [line] = (await Promise.race([once(child.stdout!.setEncoding('utf8'), 'data'), ended])) as [string]
  return { pid: child.pid!, ...(JSON.parse(line) as { port: number; key: string }) }
}

async function measure(method: Method, { pid, port, key }: Server, duration: number): Promise<Sample> {
  const file = join(folder, `${method}-${port}.lua`)
  const headers = [`wrk.headers["Authorization"] = "Bearer ${key}"`, 'wrk.headers["X-Forwarded-For"] = "203.0.113.7"']
  const body = [
    'wrk.method = "POST"',
    'wrk.headers["Content-Type"] = "application/json"',
    `wrk.body = '{"name":"Morning digest","size":3,"tags":["a","b"]}'`,
  ]
  writeFileSync(file, [...headers, ...(method === 'post' ? body : [])].join('\n'))
  const path = method === 'get' ? '/api/things/42' : '/api/things'
  const before = cpuUsOf(pid)
  const load = ['-t1', `-c${connections}`, `-d${duration}s`, '-s', file, `http://127.0.0.1:${port}${path}`]
  const wrk = spawn('taskset', ['-c', loadCpu, 'wrk', ...load], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  wrk.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  await once(wrk, 'close')
  if (/Non-2xx/.test(output)) throw new Error(`${methods[method]} was refused:\n${output}`)
  const requests = Number(/(\d+) requests in/.exec(output)?.[1])
  return { rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1]), cpuUs: (cpuUsOf(pid) - before) / requests }
}

/** Time that the threads of a process have been on a processor so far. */
function cpuUsOf(pid: number): number {
  const nanoseconds = readdirSync(`/proc/${pid}/task`).map((thread) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]),
  )
  return nanoseconds.reduce((sum, each) => sum + each, 0) / 1000
}

function residentMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}
