import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { openWorkerDatabase } from '../../../src/cli/dev/database.ts'
import { parseConfig } from '../../../src/config.ts'

/**
 * What a Worker needs around it, on PostgreSQL where one runs, else on PGlite behind a socket. A process of its own:
 * prints what it made as one line of JSON, and takes it all away when its input ends.
 */
const folder = await mkdtemp(join(tmpdir(), 'automatos-workers-'))
const server = await createDatabase()
const adminKey = `ak_srv_${randomBytes(32).toString('hex')}`
const keyRing = `k1:${randomBytes(32).toString('base64')}`
const database = await openWorkerDatabase(
  parseConfig({
    ENVIRONMENT: 'test',
    LOG_LEVEL: 'error',
    DATA_DIR: folder,
    DATABASE_URL: server?.url,
    ADMIN_API_KEY: adminKey,
    CREDENTIAL_ENCRYPTION_KEY: keyRing,
  }),
)
console.log(JSON.stringify({ databaseUrl: database.url, label: database.label, adminKey, keyRing, folder }))

process.stdin.resume().once('end', async () => {
  await database.close()
  await server?.drop()
  await rm(folder, { recursive: true, force: true })
  process.exit()
})

async function createDatabase(): Promise<{ url: string; drop(): Promise<void> } | null> {
  const base = process.env['TEST_POSTGRES_URL'] ?? 'postgres://postgres@127.0.0.1:5432/postgres'
  const admin = postgres(base, { max: 1, connect_timeout: 10, onnotice: () => {} })
  const name = `automatos_workers_${randomBytes(6).toString('hex')}`
  try {
    await admin.unsafe(`create database ${name}`)
  } catch (error) {
    await admin.end()
    if (process.env['TEST_POSTGRES_URL']) throw error
    return null
  }
  const url = new URL(base)
  url.pathname = `/${name}`
  return {
    url: url.href,
    async drop() {
      await admin.unsafe(`drop database if exists ${name} with (force)`)
      await admin.end()
    },
  }
}
