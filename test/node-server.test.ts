import { connect, createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { mkdir, readdir, readFile, realpath, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { lockDataDir } from '../src/runtime/node/data-dir-lock.ts'
import { prepareDatabase } from '../src/runtime/node/prepared-database.ts'
import { folderForTest, type AtEnd } from './support/folder.ts'
import { repository, runtimes, startProcess, type RuntimeName, type TestProcess } from './support/process.ts'

// Whole servers start here, on a machine that may be busy with other tests.
const patience = { timeout: 120_000 }
const names = ['node', 'bun'] as const

interface Served {
  dataDir: string
  server: TestProcess
  address: string
}
/** Time for one look at what a server does between the signal and its last connection. */
const shortGoodbye = { SHUTDOWN_DELAY_S: '2', SHUTDOWN_GRACE_S: '6' }

/** One server a runtime, started on an empty folder, for all that a server which goes on can show. */
const first = {} as Record<RuntimeName, Served>

const cleanUps: (() => Promise<void>)[] = []
const afterTheFile: AtEnd = (end) => void cleanUps.unshift(end)
afterAll(async () => {
  for (const cleanUp of cleanUps) await cleanUp()
})

beforeAll(async () => {
  await prepareDatabase()
  await Promise.all(
    names.map(async (runtime) => {
      const dataDir = join(await folderForTest(afterTheFile), 'data')
      const server = startServer(runtime, { DATA_DIR: dataDir, ...shortGoodbye }, afterTheFile)
      first[runtime] = { dataDir, server, address: await addressOf(server) }
    }),
  )
}, patience.timeout)

function startServer(runtime: RuntimeName, env: Record<string, string>, atEnd: AtEnd = onTestFinished): TestProcess {
  const args = runtime === 'bun' ? ['src/node-server.ts'] : ['src/cli/launch.js', 'src/node-server.ts']
  return startProcess(runtimes[runtime], args, { PORT: '0', SHUTDOWN_GRACE_S: '20', ...env }, atEnd)
}

const keyIn = async (dataDir: string) => (await readFile(join(dataDir, 'admin-api-key'), 'utf8')).trim()
const addressOf = async (server: TestProcess) => (await server.saying(/API +(http:\S+)/))[1]!

// In this order: what a server shows while it runs, its end, and who may then have its folder.
describe.each(names)('on %s', (runtime) => {
  test('serves on an empty folder and says how to go on', async () => {
    const { dataDir, server, address } = first[runtime]
    const health = await fetch(`${address}/health`)
    expect(health.status).toBe(200)
    expect(await health.json()).toMatchObject({
      status: 'healthy',
      platform: runtime,
      components: { database: { status: 'healthy' }, wake: { status: 'healthy' }, services: { status: 'healthy' } },
    })

    const metrics = async () => (await fetch(`${address}/metrics`)).text()
    await expect.poll(metrics, { timeout: 10_000 }).toMatch(/automatos_service_ticks_total{service="runs"} [1-9]/)

    const key = await keyIn(dataDir)
    expect(key).toMatch(/^ak_srv_[0-9a-f]{64}$/)
    expect((await stat(join(dataDir, 'admin-api-key'))).mode & 0o777).toBe(0o600)
    expect(server.stderr()).toContain(`${key} (shown once; kept in ${join(dataDir, 'admin-api-key')})`)
    expect(server.stdout()).not.toContain(key)
    expect(server.stderr()).toMatch(
      /Docs +http.*\/docs\n.*\n +Database +embedded.*\n +Model +offline \(simulated answers\)/,
    )
    for (const line of server.stdout().trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('message')
  })

  // Bun answers what is no HTTP by itself, before the product sees it.
  test.runIf(runtime === 'node')('what is no HTTP request gets a problem document', async () => {
    const { hostname, port } = new URL(first[runtime].address)
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

  test('refuses a folder that another server uses', patience, async () => {
    const { dataDir, server, address } = first[runtime]
    const second = startServer(runtime, { DATA_DIR: dataDir })
    expect(await second.ended).toBe(69)
    expect(second.stderr()).toContain(`in use by process ${server.pid}`)
    expect((await fetch(`${address}/health`)).status).toBe(200)
  })

  test(
    'on a signal it turns new work away, ends streams whole, cuts what would stay for ever, and ends cleanly',
    patience,
    async () => {
      const { server, address, dataDir } = first[runtime]
      const { hostname, port } = new URL(address)
      const follower = await followWaitingRun(address, await keyIn(dataDir))
      // A request whose body never ends keeps its connection busy.
      const socket = connect(Number(port), hostname, () =>
        socket.write('POST /api/agents HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n'),
      )
      onTestFinished(() => void socket.destroy())
      socket.on('error', () => {})
      await once(socket, 'connect')
      expect((await fetch(`${address}/health/ready`)).status).toBe(200)

      server.child.kill(runtime === 'node' ? 'SIGINT' : 'SIGTERM')
      await server.saying(/"message":"Shutting down"/)
      const ready = await fetch(`${address}/health/ready`)
      expect([ready.status, await ready.json()]).toEqual([503, { ready: false, draining: true, components: {} }])
      expect(ready.headers.get('connection')).toBe('close')
      // Its end, and no broken connection: a client goes on elsewhere behind the last id that it has.
      expect(await follower.rest()).not.toContain('event: error')

      expect(await server.ended).toBe(0)
      expect(server.stdout()).toContain('"message":"Stopped"')
      expect(await readdir(dataDir)).not.toContain('lock-owner.json')
      await expect(fetch(`${address}/health/live`)).rejects.toThrow()
    },
  )

  test('says in one line that the port is taken, and gives the data folder free', patience, async () => {
    const { dataDir } = first[runtime]
    const taken = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void taken.close())
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const server = startServer(runtime, { DATA_DIR: dataDir, PORT: String(port) })
    expect(await server.ended).toBe(69)
    expect(server.stderr()).toBe(
      `Cannot listen on 127.0.0.1:${port}: another program listens there. Stop it, or set PORT to a free one (0 takes any).\n`,
    )
    expect(await readdir(dataDir)).not.toContain('lock-owner.json')
    lockDataDir(dataDir).release()
  })
})

/** A run that waits for an hour, and a follower that has its first events. */
async function followWaitingRun(address: string, key: string) {
  const headers = { 'x-api-key': key, 'content-type': 'application/json' }
  const post = async (path: string, body: object) => {
    const response = await fetch(`${address}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
    expect(response.ok).toBe(true)
    return (await response.json()) as { id: string }
  }
  const recipe = await post('/api/workflow-recipes', {
    name: 'Rest',
    steps: [{ id: 'rest', kind: 'wait', duration: '1h' }],
  })
  const run = await post(`/api/workflow-recipes/${recipe.id}/execute`, { input_data: {} })
  const events = await fetch(`${address}/api/executions/${run.id}/events`, { headers })
  const reader = events.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  while (!text.includes('execution.waiting')) text += (await reader.read()).value
  return {
    async rest() {
      let rest = ''
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return rest
        rest += value
      }
    },
  }
}

test('on bun it starts again on its folder, shows no key a second time, and ends on SIGINT', patience, async () => {
  const { dataDir } = first.bun
  const second = startServer('bun', { DATA_DIR: dataDir })
  expect((await fetch(`${await addressOf(second)}/health`)).status).toBe(200)
  expect(second.stderr()).not.toContain(await keyIn(dataDir))
  second.child.kill('SIGINT')
  expect(await second.ended).toBe(0)
})

test(
  '`npm start` starts again on its folder, shows no key a second time, and a signal to it ends the server before npm',
  patience,
  async () => {
    const { dataDir } = first.node
    const npm = startProcess('npm', ['start'], { PORT: '0', DATA_DIR: dataDir })
    expect((await fetch(`${await addressOf(npm)}/health`)).status).toBe(200)
    expect(npm.stderr()).not.toContain(await keyIn(dataDir))
    npm.child.kill('SIGTERM')
    expect(await npm.ended).toBe(0)
    expect(npm.stdout()).toContain('"message":"Stopped"')
    lockDataDir(dataDir).release()
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

test('says in one line why its settings cannot be read', patience, async () => {
  const folder = await realpath(await folderForTest())
  await mkdir(join(folder, '.env'))
  const there = `data:text/javascript,process.chdir(${JSON.stringify(folder)})`
  const launch = join(repository, 'src/cli/launch.js')
  const server = startProcess(runtimes.node, ['--import', there, launch, 'src/node-server.ts'])
  expect(await server.ended).toBe(78)
  expect(server.stderr().trim().split('\n')).toHaveLength(1)
  expect(server.stderr()).toContain(`The settings in ${join(folder, '.env')} cannot be read`)
})

test('a Node that is too old is told so before it reads anything it cannot', patience, async () => {
  const pretend = "data:text/javascript,Object.defineProperty(process.versions,'node',{value:'22.17.1'})"
  const server = startProcess(runtimes.node, ['--import', pretend, 'src/cli/launch.js', 'src/node-server.ts'])
  expect(await server.ended).toBe(1)
  expect(server.stderr().trim().split('\n')).toHaveLength(1)
  expect(server.stderr()).toContain('needs Node 22.18 or newer')
})
