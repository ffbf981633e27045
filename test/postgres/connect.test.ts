import { once } from 'node:events'
import { connect as connectSocket, createServer, type AddressInfo } from 'node:net'
import { CompiledQuery, sql } from 'kysely'
import { afterAll, expect, onTestFinished, test } from 'vitest'
import { openPostgres } from '../../src/runtime/node/postgres.ts'
import { createTestDatabase } from '../support/database.ts'

const database = await createTestDatabase()
afterAll(() => database.close())

async function open(url: string) {
  const opened = await openPostgres(url)
  onTestFinished(() => opened.db.destroy())
  const setting = async (name: string) => {
    const { rows } = await sql<{ value: string }>`select current_setting(${name}) as value`.execute(opened.db)
    return rows[0]?.value
  }
  /** What a connection is left with by the engine's statements. */
  const roleLeft = async () => {
    await setting('application_name')
    const line = await opened.pool.acquire()
    try {
      const { rows } = await line.executeQuery<{ role: string }>(
        CompiledQuery.raw(`select current_setting('role') as role`),
      )
      return rows[0]?.role
    } finally {
      opened.pool.release(line)
    }
  }
  return { ...opened, setting, roleLeft }
}

const withPath = (pathname: string) => Object.assign(new URL(database.url!), { pathname }).href

test('every connection says who it is and gives up on what hangs', async () => {
  const { setting, label } = await open(database.url!)
  expect(await setting('application_name')).toBe('automatos')
  expect(await setting('statement_timeout')).toBe('1min')
  expect(await setting('lock_timeout')).toBe('10s')
  expect(label).toContain(new URL(database.url!).pathname)
})

test('a database that does not exist is named, with what to do', async () => {
  await expect(openPostgres(withPath('/no_such_database'))).rejects.toThrow(
    /no_such_database cannot be used: that database does not exist; create it or correct DATABASE_URL/,
  )
})

/** The first message without those of the settings that a server would take for the connection. */
function withoutTimeouts(startup: Buffer): Buffer {
  const parts = startup.toString('latin1', 8).split('\0')
  const pairs = Array.from({ length: Math.floor(parts.length / 2) }, (_, at) => parts.slice(2 * at, 2 * at + 2))
  const kept = pairs.filter(([name]) => name && !name.endsWith('_timeout'))
  const body = Buffer.from(`${kept.flat().join('\0')}\0\0`, 'latin1')
  const head = Buffer.from(startup.subarray(0, 8))
  head.writeInt32BE(8 + body.length)
  return Buffer.concat([head, body])
}

/** A connection pooler as far as it matters: passes everything through, but refuses or swallows settings in the first message. */
async function startPooler(how: 'refuses' | 'swallows'): Promise<string> {
  const target = new URL(database.url!)
  const pooler = createServer((client) => {
    client.once('data', (startup) => {
      if (how === 'refuses' && startup.includes('statement_timeout')) {
        const fields = 'SFATAL\0C08P01\0Munsupported startup parameter: statement_timeout\0\0'
        const head = Buffer.alloc(5)
        head.write('E')
        head.writeInt32BE(4 + fields.length, 1)
        client.end(Buffer.concat([head, Buffer.from(fields)]))
        return
      }
      const server = connectSocket(Number(target.port || 5432), target.hostname)
      server.write(withoutTimeouts(startup))
      client.pipe(server).pipe(client)
      server.on('error', () => client.destroy())
      client.on('error', () => server.destroy())
    })
  })
  await once(pooler.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => void pooler.close())
  const { port } = pooler.address() as AddressInfo
  return Object.assign(new URL(target), { host: `127.0.0.1:${port}` }).href
}

test.each(['refuses', 'swallows'] as const)(
  'behind a pooler that %s settings, those of the server apply, and no role outlives a transaction',
  async (how) => {
    const { setting, roleLeft } = await open(await startPooler(how))
    expect(await setting('statement_timeout')).toBe('0')
    expect(await setting('role')).toBe('automatos_engine')
    expect(await roleLeft()).toBe('none')
  },
)

test('on connections of its own the engine keeps its role', async () => {
  const { roleLeft } = await open(database.url!)
  expect(await roleLeft()).toBe('automatos_engine')
})
