import { once } from 'node:events'
import { connect as connectSocket, createServer, type AddressInfo, type Server } from 'node:net'
import { sql } from 'kysely'
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
  return { ...opened, setting }
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

/** A connection pooler as far as it matters: passes everything through, but refuses settings in the first message. */
async function startPooler(): Promise<Server> {
  const target = new URL(database.url!)
  const pooler = createServer((client) => {
    client.once('data', (startup) => {
      if (startup.includes('statement_timeout')) {
        const fields = 'SFATAL\0C08P01\0Munsupported startup parameter: statement_timeout\0\0'
        const head = Buffer.alloc(5)
        head.write('E')
        head.writeInt32BE(4 + fields.length, 1)
        client.end(Buffer.concat([head, Buffer.from(fields)]))
        return
      }
      const server = connectSocket(Number(target.port || 5432), target.hostname)
      server.write(startup)
      client.pipe(server).pipe(client)
      server.on('error', () => client.destroy())
      client.on('error', () => server.destroy())
    })
  })
  await once(pooler.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => void pooler.close())
  return pooler
}

test('behind a pooler that refuses settings, the settings of the server apply', async () => {
  const pooler = await startPooler()
  const url = new URL(database.url!)
  url.host = `127.0.0.1:${(pooler.address() as AddressInfo).port}`
  const { setting } = await open(url.href)
  expect(await setting('statement_timeout')).toBe('0')
})
