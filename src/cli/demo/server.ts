import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { readFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

export interface DemoServer {
  url: string
  adminKey: string
  stop(): Promise<void>
}

/** The real server as a process of its own on an empty folder, as `npm start` runs it. */
export async function startServer(options: { dataDir: string; egressAllow: string[] }): Promise<DemoServer> {
  const port = await freePort()
  const launch = new URL('../launch.js', import.meta.url)
  const child = spawn(process.execPath, [launch.pathname, 'src/node-server.ts'], {
    cwd: new URL('../../../', import.meta.url),
    env: {
      ...process.env,
      HOST: '127.0.0.1',
      PORT: String(port),
      DATA_DIR: options.dataDir,
      LOG_LEVEL: 'error',
      EGRESS_ALLOW: options.egressAllow.join(','),
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let complaint = ''
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
  const url = `http://127.0.0.1:${port}`
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
  }
  for (;;) {
    if (child.exitCode !== null) throw new Error(`The server did not start:\n${complaint}`)
    try {
      if ((await fetch(`${url}/health/ready`)).ok) break
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  return { url, adminKey: (await readFile(join(options.dataDir, 'admin-api-key'), 'utf8')).trim(), stop }
}

/** Serves the captured feed on loopback, so that the demo reads over real HTTP where there is no internet. */
export async function serveFeed(file: URL): Promise<{ url: string; host: string; close(): void }> {
  const body = await readFile(file)
  const server: Server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/rss+xml; charset=utf-8' })
    response.end(body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url: `http://${host}/feed.xml`, host, close: () => void server.close() }
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
