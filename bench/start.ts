import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bundle } from '../src/cli/build/bundle.ts'
import { median, milliseconds, report } from './result.ts'

// Start to first answer, as `npm start` starts, on an embedded database that is there: against bare Hono's start to first
// answer plus what opening PGlite alone costs inside a process (loading it, to the answer of its first query). The
// processes take turns. The very first start, on an empty folder and with no cache of compiled code, stands beside it.
// Usage: node bench/start.ts [rounds]
const rounds = Number(process.argv[2] ?? 9)
const root = join(import.meta.dirname, '..')
const runtimes = { Node: process.execPath, Bun: join(root, 'node_modules/.bin/bun') }
/** Between two looks whether the process answers yet. */
const lookEveryMs = 2

await bundle()
for (const [name, command] of Object.entries(runtimes)) {
  const scratch = mkdtempSync(join(tmpdir(), 'automatos-start-'))
  try {
    await compare(name, command, scratch)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

async function compare(name: string, command: string, scratch: string): Promise<void> {
  const env = { ...process.env, DATA_DIR: join(scratch, 'data'), NODE_COMPILE_CACHE: join(scratch, 'compiled') }
  const product = () => firstAnswer(command, ['src/cli/launch.js', 'dist/app/node-server.js'], env)
  const bare = () => firstAnswer(command, ['bench/start-bare.js'], env)
  const firstMs = await product()
  // Cleanly closed, as the product leaves it, and not the one that the product goes on with.
  const copy = join(scratch, 'copy')
  cpSync(join(scratch, 'data/pglite'), copy, { recursive: true })
  const pglite = () =>
    Number(execFileSync(command, ['bench/start-pglite.js', copy], { cwd: root, env, encoding: 'utf8' }))

  const samples: { bare: number; pglite: number; product: number }[] = []
  for (let round = 0; round <= rounds; round++) {
    const sample = { bare: await bare(), pglite: pglite(), product: await product() }
    // The first round fills the cache of compiled code.
    if (round > 0) samples.push(sample)
  }
  const ratios = samples.map((sample) => sample.product / (sample.bare + sample.pglite))
  report({
    name: `Start to first answer on ${name}, on a database that is there`,
    against: 'bare Hono plus opening PGlite alone',
    ratio: median(ratios),
    goal: name === 'Node' ? { atMost: 1.5 } : null,
    rounds: ratios,
    figures: {
      'this start': milliseconds(median(samples.map((sample) => sample.product))),
      'the very first start': milliseconds(firstMs),
      'bare Hono': milliseconds(median(samples.map((sample) => sample.bare))),
      'opening PGlite': milliseconds(median(samples.map((sample) => sample.pglite))),
    },
  })
}

/** From the spawn to the first complete answer; then ends the process. */
async function firstAnswer(command: string, args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const port = await freePort()
  const startedMs = performance.now()
  const child = spawn(command, args, { cwd: root, env: { ...env, PORT: String(port) }, stdio: 'ignore' })
  const ended = once(child, 'exit')
  while (!(await answers(port))) {
    if (child.exitCode !== null) throw new Error(`${args.join(' ')} has ended with ${child.exitCode}.`)
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs))
  }
  const tookMs = performance.now() - startedMs
  child.kill('SIGTERM')
  await ended
  return tookMs
}

async function answers(port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/health/ready`)
    await response.text()
    return response.ok
  } catch {
    return false
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
