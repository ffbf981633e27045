import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createServer, type AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'

export interface WranglerOptions {
  port: number
  /** Where Hyperdrive leads; needs a password. */
  databaseUrl: string
  /** Keeps R2 and Durable Objects between starts. */
  stateFolder: string
  /** A file of NAME="value" lines. */
  variables: string
  log?: (text: string) => void
}
export interface Wrangler {
  address: string
  /** Resolves when wrangler has ended, however that came. */
  ended: Promise<unknown>
  stop(): Promise<void>
}

const startWithinMs = 120_000

/** Runs `wrangler dev` on loopback, offline, and resolves when the Worker answers. */
export async function startWrangler(options: WranglerOptions): Promise<Wrangler> {
  const { log = (text) => process.stderr.write(text) } = options
  const port = options.port === 0 ? await freePort() : options.port
  const args = ['dev', '--local', '--test-scheduled', '--show-interactive-dev-session=false', '--log-level', 'warn']
  args.push('--ip', '127.0.0.1', '--port', String(port), '--inspector-port', String(await freePort()))
  args.push('--persist-to', options.stateFolder, '--env-file', options.variables)
  const program = join(dirname(createRequire(import.meta.url).resolve('wrangler/package.json')), 'bin/wrangler.js')
  // A group of its own: wrangler, its bundler and workerd are ended together.
  const child = spawn(process.execPath, [program, ...args], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      CI: '1',
      WRANGLER_SEND_METRICS: 'false',
      CLOUDFLARE_CF_FETCH_ENABLED: 'false',
      CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_HYPERDRIVE: options.databaseUrl,
    },
  })
  child.stdout.on('data', (chunk: Buffer) => log(chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => log(chunk.toString()))
  const ended = once(child, 'exit')
  const stop = async () => {
    signalGroup(child.pid, 'SIGTERM')
    const force = setTimeout(() => signalGroup(child.pid, 'SIGKILL'), 5_000)
    await ended
    clearTimeout(force)
    // Whoever outlived the group's leader.
    signalGroup(child.pid, 'SIGKILL')
  }

  const address = `http://127.0.0.1:${port}`
  try {
    await answers(`${address}/health/live`, ended)
  } catch (error) {
    await stop()
    throw error
  }
  return { address, ended, stop }
}

async function answers(address: string, ended: Promise<unknown>): Promise<void> {
  let isOver = false
  void ended.then(() => (isOver = true))
  const until = Date.now() + startWithinMs
  for (;;) {
    if (isOver) throw new Error('wrangler dev has ended before the Worker answered.')
    if (Date.now() > until) throw new Error(`The Worker does not answer at ${address}.`)
    const status = await fetch(address).then(
      async (response) => (await response.text(), response.status),
      () => 0,
    )
    if (status === 200) return
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
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
