import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { runtimes, type RuntimeName } from '../../support/process.ts'

export interface Server {
  url: string
  pid: number
  ready: Promise<void>
  kill(): Promise<void>
  /** The process stands still until `thaw`, its connections open. */
  freeze(): void
  thaw(): void
  /** Asks it to end, and gives its exit code. */
  stop(): Promise<number | null>
}
export interface StartOptions {
  clockSkewMs?: number
  /** Default: a free one. */
  port?: number
  runtime?: RuntimeName
}

/** Several real server processes on one PostgreSQL, killed and started again at will. */
export class Cluster {
  readonly adminKey = `ak_srv_${randomBytes(32).toString('hex')}`
  readonly #env: Record<string, string>
  readonly #folder: Promise<string>
  readonly #servers = new Set<Server>()

  constructor(databaseUrl: string, env: Record<string, string> = {}) {
    this.#folder = mkdtemp(join(tmpdir(), 'automatos-chaos-'))
    this.#env = {
      PATH: process.env['PATH'] ?? '',
      ENVIRONMENT: 'test',
      LOG_LEVEL: 'error',
      DATABASE_URL: databaseUrl,
      ADMIN_API_KEY: this.adminKey,
      CREDENTIAL_ENCRYPTION_KEY: `k1:${randomBytes(32).toString('base64')}`,
      EGRESS_ALLOW: '127.0.0.1',
      RATE_LIMIT_AUTHENTICATED: '100000/minute',
      SHUTDOWN_GRACE_S: '10',
      ...env,
    }
  }

  async start({ clockSkewMs = 0, port: wanted, runtime = 'node' }: StartOptions = {}): Promise<Server> {
    const port = wanted ?? (await freePort())
    const folder = await this.#folder
    const skew = runtime === 'node' ? ['--import', new URL('skew.mjs', import.meta.url).href] : []
    const child = spawn(runtimes[runtime], [...skew, 'src/node-server.ts'], {
      env: {
        ...this.#env,
        PORT: String(port),
        DATA_DIR: join(folder, String(port)),
        CLOCK_SKEW_MS: String(clockSkewMs),
      },
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const exited = once(child, 'exit')
    const url = `http://127.0.0.1:${port}`
    const server: Server = {
      url,
      pid: child.pid!,
      ready: untilReady(url, child),
      kill: async () => {
        child.kill('SIGKILL')
        await exited
        this.#servers.delete(server)
      },
      freeze: () => void child.kill('SIGSTOP'),
      thaw: () => void child.kill('SIGCONT'),
      stop: async () => {
        child.kill('SIGTERM')
        const [code] = (await exited) as [number | null]
        this.#servers.delete(server)
        return code
      },
    }
    server.ready.catch(() => {})
    this.#servers.add(server)
    return server
  }

  async close(): Promise<void> {
    await Promise.all([...this.#servers].map((server) => server.stop()))
    await rm(await this.#folder, { recursive: true, force: true })
  }

  /** A request to any of the servers that answers; tries until one does. */
  async request(
    servers: () => Pick<Server, 'url'>[],
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ) {
    for (let attempt = 0; ; attempt++) {
      const alive = servers()
      const server = alive[attempt % Math.max(1, alive.length)]
      try {
        if (!server) throw new Error('No server is up.')
        const response = await fetch(`${server.url}${path}`, {
          method,
          headers: { 'x-api-key': this.adminKey, 'content-type': 'application/json', ...headers },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          signal: AbortSignal.timeout(10_000),
        })
        const text = await response.text()
        if (response.status >= 500) throw new Error(`${response.status} ${text}`)
        return { status: response.status, body: JSON.parse(text) as Record<string, unknown> }
      } catch (error) {
        if (attempt > 600) throw error
        await pause(100)
      }
    }
  }
}

/** Chaos runs in real time: it is the one place where a test lets time pass. */
export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

async function untilReady(url: string, child: ChildProcess): Promise<void> {
  while (child.exitCode === null && child.signalCode === null) {
    try {
      if ((await fetch(`${url}/health/ready`)).ok) return
    } catch {
      await pause(50)
    }
  }
  throw new Error('The server ended before it was ready.')
}

export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
