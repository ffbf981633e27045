import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { parseConfig, type Config } from '../config.ts'
import { settings } from '../config/settings.ts'
import { migrate } from '../db/migrate.ts'
import { adminKeyPath, writeAdminKey } from '../runtime/node/admin-key-file.ts'
import { lockDataDir } from '../runtime/node/data-dir-lock.ts'
import { readEnvironment } from '../runtime/node/environment.ts'
import { openNodeRuntime } from '../runtime/node/index.ts'
import { loadOrCreateKeyRing } from '../runtime/node/key-ring.ts'
import { firstSignal } from '../runtime/node/shutdown.ts'
import { reportStartFault } from '../runtime/node/start-faults.ts'
import { runSeeds } from '../seeds/index.ts'
import { ensureAdminKey } from '../services/identity/admin-key.ts'
import { callEachMinute } from './dev/cron.ts'
import { serveEmbedded } from './dev/embedded-server.ts'
import { startWrangler } from './dev/wrangler.ts'

/**
 * `npm run dev:cloudflare`: the Worker with all that it needs on this machine: a database (DATABASE_URL, else the
 * embedded one on a loopback socket), R2 and Durable Objects in `wrangler dev`, and the cron trigger each minute.
 */
try {
  await develop()
} catch (error) {
  process.exitCode = reportStartFault(error)
}

async function develop(): Promise<void> {
  const signaled = firstSignal()
  const env = readEnvironment()
  // A folder of its own beside the one that `npm start` holds.
  const folder = resolve(parseConfig(env).dataDir, 'cloudflare')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const adminKey = env['ADMIN_API_KEY'] || (await keptAdminKey(folder))
  const config = parseConfig({ ...env, DATA_DIR: folder, ADMIN_API_KEY: adminKey })

  await prepare(config)
  const database = await openDatabase(config, folder)
  try {
    const keyRing = config.credentialEncryptionKey?.reveal() ?? (await loadOrCreateKeyRing(folder)).keyRing
    const wrangler = await startWrangler({
      port: config.port,
      databaseUrl: database.url,
      stateFolder: join(folder, 'wrangler'),
      variables: await writeVariables(folder, {
        ...env,
        ENVIRONMENT: config.environment,
        CREDENTIAL_ENCRYPTION_KEY: keyRing,
      }),
    })
    const cron = callEachMinute(`${wrangler.address}/cdn-cgi/handler/scheduled?cron=*+*+*+*+*`, (reason) =>
      console.error(`The scheduled handler failed: ${reason}`),
    )
    console.log(`
  Worker     ${wrangler.address}
  Docs       ${wrangler.address}/docs
  Admin key  ${env['ADMIN_API_KEY'] ? 'the one that ADMIN_API_KEY names' : `in ${adminKeyPath(folder)}`}
  Database   ${database.label}
  Cron       calls the scheduled handler each minute
  Ctrl-C ends all of it.
`)
    await Promise.race([signaled, wrangler.ended])
    cron.stop()
    await wrangler.stop()
  } finally {
    await database.close()
  }
}

/** What a deployment does with `npm run migrate`: schema, seeds, the admin key. */
async function prepare(config: Config): Promise<void> {
  const runtime = await openNodeRuntime(config)
  try {
    await migrate(runtime.db)
    await runSeeds(runtime)
    await ensureAdminKey(runtime)
  } finally {
    await runtime.close()
  }
}

async function openDatabase(
  config: Config,
  folder: string,
): Promise<{ url: string; label: string; close(): Promise<void> }> {
  if (config.databaseUrl) {
    const url = new URL(config.databaseUrl.reveal())
    // Hyperdrive wants a password, also where the server asks for none.
    url.password ||= 'none'
    return { url: url.href, label: `PostgreSQL at ${url.host}${url.pathname}`, close: async () => {} }
  }
  const lock = lockDataDir(folder)
  const pglite = await PGlite.create(join(folder, 'pglite'))
  const server = await serveEmbedded(pglite)
  return {
    url: `postgres://dev:dev@127.0.0.1:${server.port}/postgres`,
    label: `embedded PostgreSQL (PGlite) in ${folder}, on 127.0.0.1:${server.port}`,
    async close() {
      await server.close()
      await pglite.close()
      lock.release()
    },
  }
}

async function keptAdminKey(folder: string): Promise<string> {
  const path = adminKeyPath(folder)
  if (existsSync(path)) return (await readFile(path, 'utf8')).trim()
  const key = `ak_srv_${randomBytes(32).toString('hex')}`
  await writeAdminKey(folder, key)
  return key
}

/** The settings that the Worker reads, as a file: on a command line everybody on the machine could read them. */
async function writeVariables(folder: string, env: Record<string, string | undefined>): Promise<string> {
  const lines = Object.entries(settings).flatMap(([name, { runtimes }]) => {
    const value = env[name]
    return value && runtimes !== 'server' ? [`${name}=${JSON.stringify(value)}`] : []
  })
  const file = join(folder, 'worker.env')
  await writeFile(file, `${lines.join('\n')}\n`, { mode: 0o600 })
  return file
}
