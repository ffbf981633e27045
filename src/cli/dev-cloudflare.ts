import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseConfig } from '../config.ts'
import { settings } from '../config/settings.ts'
import { adminKeyPath, writeAdminKey } from '../runtime/node/admin-key-file.ts'
import { readEnvironment } from '../runtime/node/environment.ts'
import { loadOrCreateKeyRing } from '../runtime/node/key-ring.ts'
import { firstSignal } from '../runtime/node/shutdown.ts'
import { reportStartFault } from '../runtime/node/start-faults.ts'
import { callEachMinute } from './dev/cron.ts'
import { openWorkerDatabase } from './dev/database.ts'
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

  const database = await openWorkerDatabase(config)
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
