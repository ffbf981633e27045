import { connect, createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { lockDataDir } from '../src/runtime/node/data-dir-lock.ts'
import { prepareDatabase } from '../src/runtime/node/prepared-database.ts'
import { folderForTest } from './support/folder.ts'
import { runtimes, startProcess, type RuntimeName, type TestProcess } from './support/process.ts'

// Whole servers start here, on a machine that may be busy with other tests.
const patience = { timeout: 120_000 }

beforeAll(async () => {
  await prepareDatabase()
}, patience.timeout)

function startServer(runtime: RuntimeName, env: Record<string, string>): TestProcess {
  const args = runtime === 'bun' ? ['src/node-server.ts'] : ['src/cli/launch.js', 'src/node-server.ts']
  return startProcess(runtimes[runtime], args, { PORT: '0', SHUTDOWN_GRACE_S: '20', ...env })
}

const addressOf = async (server: TestProcess) => (await server.saying(/API +(http:\S+)/))[1]!

describe.each(['node', 'bun'] as const)('on %s', (runtime) => {
  test(
    'serves on an empty folder, says how to go on, ends cleanly on SIGTERM, and starts again',
    patience,
    async () => {
      const dataDir = join(await folderForTest(), 'data')
      const first = startServer(runtime, { DATA_DIR: dataDir })
      const address = await addressOf(first)

      const health = await fetch(`${address}/health`)
      expect(health.status).toBe(200)
      expect(await health.json()).toMatchObject({
        status: 'healthy',
        platform: runtime,
        components: { database: { status: 'healthy' }, wake: { status: 'healthy' }, services: { status: 'healthy' } },
      })

      const metrics = await (await fetch(`${address}/metrics`)).text()
      expect(metrics).toMatch(/automatos_service_ticks_total{service="runs"} [1-9]/)

      const key = (await readFile(join(dataDir, 'admin-api-key'), 'utf8')).trim()
      expect(key).toMatch(/^ak_srv_[0-9a-f]{64}$/)
      expect((await stat(join(dataDir, 'admin-api-key'))).mode & 0o777).toBe(0o600)
      expect(first.stderr()).toContain(`${key} (shown once; kept in ${join(dataDir, 'admin-api-key')})`)
      expect(first.stdout()).not.toContain(key)
      expect(first.stderr()).toMatch(
        /Docs +http.*\/docs\n.*\n +Database +embedded.*\n +Model +offline \(simulated answers\)/,
      )
      for (const line of first.stdout().trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('message')

      first.child.kill('SIGTERM')
      expect(await first.ended).toBe(0)
      expect(first.stdout()).toContain('"message":"Stopped"')

      const second = startServer(runtime, { DATA_DIR: dataDir })
      expect((await fetch(`${await addressOf(second)}/health`)).status).toBe(200)
      expect(second.stderr()).not.toContain(key)
      second.child.kill('SIGINT')
      expect(await second.ended).toBe(0)
    },
  )

  test('says in one line that the port is taken, and gives the data folder free', patience, async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void taken.close())
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const dataDir = await folderForTest()
    const server = startServer(runtime, { DATA_DIR: dataDir, PORT: String(port) })
    expect(await server.ended).toBe(69)
    expect(server.stderr()).toBe(
      `Cannot listen on 127.0.0.1:${port}: another program listens there. Stop it, or set PORT to a free one (0 takes any).\n`,
    )
    expect(await readdir(dataDir)).not.toContain('lock-owner.json')
  })

  test('refuses a folder that another server uses', patience, async () => {
    const dataDir = await folderForTest()
    const first = startServer(runtime, { DATA_DIR: dataDir })
    const address = await addressOf(first)
    const second = startServer(runtime, { DATA_DIR: dataDir })
    expect(await second.ended).toBe(69)
    expect(second.stderr()).toContain(`in use by process ${first.pid}`)
    expect((await fetch(`${address}/health`)).status).toBe(200)
  })
})

test('a signal to `npm start` reaches the server, which ends before npm does', patience, async () => {
  const dataDir = await folderForTest()
  const npm = startProcess('npm', ['start'], { PORT: '0', DATA_DIR: dataDir })
  await addressOf(npm)
  npm.child.kill('SIGTERM')
  expect(await npm.ended).toBe(0)
  expect(npm.stdout()).toContain('"message":"Stopped"')
  lockDataDir(dataDir).release()
})

test('what is no HTTP request gets a problem document', patience, async () => {
  const server = startServer('node', { DATA_DIR: await folderForTest() })
  const { hostname, port } = new URL(await addressOf(server))
  const answer = await new Promise<string>((resolve, reject) => {
    let text = ''
    const socket = connect(Number(port), hostname, () => socket.write('NOT HTTP\r\n\r\n'))
    socket
      .setEncoding('utf8')
      .on('data', (part: string) => (text += part))
      .on('close', () => resolve(text))
      .on('error', reject)
  })
  expect(answer).toMatch(/^HTTP\/1\.1 400 [^]*application\/problem\+json[^]*"status":400/)
})

test.each(['node', 'bun'] as const)(
  'on %s a connection that would stay open for ever is cut at shutdown',
  patience,
  async (runtime) => {
    const server = startServer(runtime, { DATA_DIR: await folderForTest() })
    const address = await addressOf(server)
    const { hostname, port } = new URL(address)
    // As an event stream does, a request whose body never ends keeps its connection busy.
    const socket = connect(Number(port), hostname, () =>
      socket.write('POST /api/agents HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n'),
    )
    onTestFinished(() => void socket.destroy())
    socket.on('error', () => {})
    await once(socket, 'connect')
    expect((await fetch(`${address}/health/live`)).status).toBe(200)
    server.child.kill('SIGTERM')
    expect(await server.ended).toBe(0)
  },
)

test('names every fault of the configuration and ends with EX_CONFIG', patience, async () => {
  const server = startServer('node', { PORT: 'eighty', LOG_LEVEL: 'loud', DATA_DIR: await folderForTest() })
  expect(await server.ended).toBe(78)
  expect(server.stderr()).toMatch(/PORT expects .*\n? .*LOG_LEVEL expects|LOG_LEVEL expects .*\n? .*PORT expects/s)
  expect(server.stderr()).not.toContain(' at ')
})

test('says in one line why a database cannot be reached, without its password', patience, async () => {
  const free = createServer().listen(0, '127.0.0.1')
  await once(free, 'listening')
  const { port } = free.address() as AddressInfo
  free.close()
  await once(free, 'close')
  const server = startServer('node', {
    DATA_DIR: await folderForTest(),
    DATABASE_URL: `postgres://app:hunter2@127.0.0.1:${port}/orders`,
  })
  expect(await server.ended).toBe(69)
  expect(server.stderr()).toBe(
    `The PostgreSQL database at 127.0.0.1:${port}/orders cannot be used: nothing listens there; start the server or correct DATABASE_URL.\n`,
  )
})

test('says in one line why a data folder cannot be used', patience, async () => {
  const file = join(await folderForTest(), 'file')
  await writeFile(file, '')
  const server = startServer('node', { DATA_DIR: file })
  expect(await server.ended).toBe(73)
  expect(server.stderr().trim().split('\n')).toHaveLength(1)
  expect(server.stderr()).toContain(`The data folder ${file} cannot be used`)
})

test('a Node that is too old is told so before it reads anything it cannot', patience, async () => {
  const pretend = "data:text/javascript,Object.defineProperty(process.versions,'node',{value:'22.17.1'})"
  const server = startProcess(runtimes.node, ['--import', pretend, 'src/cli/launch.js', 'src/node-server.ts'])
  expect(await server.ended).toBe(1)
  expect(server.stderr().trim().split('\n')).toHaveLength(1)
  expect(server.stderr()).toContain('needs Node 22.18 or newer')
})
