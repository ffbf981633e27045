import { isIPv6 } from 'node:net'
import { createApp } from './app.ts'
import { parseConfig, type Config } from './config.ts'
import type { Actor } from './context.ts'
import { migrate } from './db/migrate.ts'
import { answerClientError } from './middleware/client-error.ts'
import { adminKeyPath, hasAdminKeyFile, writeAdminKey } from './runtime/node/admin-key-file.ts'
import { renderBanner } from './runtime/node/banner.ts'
import { readEnvironment } from './runtime/node/environment.ts'
import { listen, type HttpServer } from './runtime/node/http-server.ts'
import { openNodeRuntime, type NodeRuntime } from './runtime/node/index.ts'
import { firstSignal, runShutdown } from './runtime/node/shutdown.ts'
import { reportStartFault } from './runtime/node/start-faults.ts'
import { createSupervisor, type After, type Supervisor } from './runtime/supervisor.ts'
import { runSeeds } from './seeds/index.ts'
import { backgroundServices } from './services/background.ts'
import { markInstance } from './services/heartbeat.service.ts'
import { ensureAdminKey } from './services/identity/admin-key.ts'
import { resolveModel } from './services/models/resolve.ts'
import { stopEngine } from './services/runs/index.ts'

/** Kept back from the grace for what comes after the engine: the last answers, deferred work, the database. */
const reserveMs = 2_000
/** How long the services' first passes leave the process to those who have waited for it to start. */
const settleMs = 200
const nobody = '00000000-0000-0000-0000-000000000000'

async function serve(config: Config): Promise<void> {
  const signaled = firstSignal()
  const runtime = await openNodeRuntime(config)
  let server: HttpServer
  let adminKey: string
  try {
    for (const warning of config.warnings) runtime.log.warn(warning)
    const applied = await migrate(runtime.db)
    if (applied.length > 0) runtime.log.info('Database migrated', { applied })
    await runSeeds(runtime)
    adminKey = await provideAdminKey(runtime)
    const app = createApp(config, () => ({ runtime }))
    server = await listen({
      platform: runtime.platform,
      host: config.host,
      port: config.port,
      fetch: app.fetch,
      answerMalformed: app.answerMalformed,
      answerClientError: (error, socket) => answerClientError(error, socket, config),
    })
  } catch (error) {
    await runtime.close()
    throw error
  }
  surviveStrayRejections(runtime)
  await announce(runtime, server, adminKey)
  const supervisor = createSupervisor(runtime, backgroundServices(config), afterFirstAnswers())

  const signal = await signaled
  process.exit((await shutDown(runtime, server, supervisor, signal)) ? 0 : 1)
}

/** Timers of the services, which begin a moment after the start: their first passes would stand before the first answers. */
function afterFirstAnswers(): After {
  const earliestMs = performance.now() + settleMs
  return (ms, callback) => {
    const timer = setTimeout(callback, Math.max(ms, earliestMs - performance.now()))
    return () => clearTimeout(timer)
  }
}

/** Returns where the key is, for the banner; shows it once, on the start that made it. */
async function provideAdminKey(runtime: NodeRuntime): Promise<string> {
  const { generated } = await ensureAdminKey(runtime, (key) => writeAdminKey(runtime.dataDir, key))
  const path = adminKeyPath(runtime.dataDir)
  if (generated) {
    return `${generated} (shown once; kept in ${path})`
  }
  if (runtime.config.adminApiKey) return 'the one that ADMIN_API_KEY names'
  return hasAdminKeyFile(runtime.dataDir) ? `in ${path}` : 'none kept here; set ADMIN_API_KEY to install one'
}

async function announce(runtime: NodeRuntime, { port }: HttpServer, adminKey: string): Promise<void> {
  const { config, databaseLabel, log, platform } = runtime
  const anyAddress = config.host === '0.0.0.0' || config.host === '::'
  const host = anyAddress ? 'localhost' : isIPv6(config.host) ? `[${config.host}]` : config.host
  const address = `http://${host}:${port}`
  const model = await describeModel(runtime)
  log.info('Listening', { address, database: databaseLabel, model, platform })
  // Beside the log, so that JSON lines on standard output stay JSON lines, and the key stays out of them.
  console.error(
    renderBanner({
      address: anyAddress ? `${address} (on every interface)` : address,
      docs: config.environment === 'production' ? null : `${address}/docs`,
      adminKey,
      database: databaseLabel,
      model,
      platform: navigator.userAgent.replace('/', ' '),
    }),
  )
}

async function describeModel({ db, config }: NodeRuntime): Promise<string> {
  // Nobody in particular: the settings that hold for everyone decide.
  const actor: Actor = { kind: 'system', id: 'start', workspaceId: nobody, permissions: new Set() }
  try {
    const { choice, source } = await resolveModel({ db, config, actor }, null)
    return source === 'offline' ? 'offline (simulated answers)' : `${choice.provider}/${choice.model}`
  } catch (error) {
    return `none (${(error as Error).message})`
  }
}
/** A promise that nobody awaited is a bug, but one that is no reason to drop everybody's work. */
function surviveStrayRejections({ log }: NodeRuntime): void {
  process.on('unhandledRejection', (error) => log.error('A promise was rejected and nobody looked', { error }))
}

async function shutDown(
  runtime: NodeRuntime,
  server: HttpServer,
  supervisor: Supervisor,
  signal: string,
): Promise<boolean> {
  const { log, config, clock } = runtime
  const graceMs = config.shutdownGraceS * 1000
  const endMs = clock.monotonicMs() + graceMs
  log.info('Shutting down', { signal, grace_s: config.shutdownGraceS })
  const limit = setTimeout(() => {
    log.error('The grace is over; what is still in flight is left to others')
    process.exit(1)
  }, graceMs)
  runtime.announceShutdown()
  server.drain()
  void tellOthers(runtime, 'draining')
  const answered = closeDoors(server, Math.min(config.shutdownDelayS * 1000, graceMs - reserveMs))
  const clean = await runShutdown(
    [
      // The services go on meanwhile: they renew the leases of what is still in flight, and an engine that stops claims nothing.
      { name: 'engine', run: () => stopEngine(runtime, Math.max(0, graceMs - reserveMs)) },
      { name: 'http', run: () => lastAnswers(server, answered, endMs - clock.monotonicMs() - reserveMs / 2) },
      { name: 'services', run: () => supervisor.stop() },
      { name: 'heartbeat', run: () => tellOthers(runtime, 'stopped') },
      { name: 'runtime', run: () => runtime.close() },
    ],
    log,
  )
  clearTimeout(limit)
  log.info('Stopped', { clean })
  return clean
}

async function closeDoors(server: HttpServer, delayMs: number): Promise<void> {
  if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs))
  await server.stopAccepting()
}

/** Requests get what is left of the grace. Event streams have ended by then, so what remains is slow or stuck. */
async function lastAnswers(server: HttpServer, answered: Promise<void>, patienceMs: number): Promise<void> {
  const patience = setTimeout(() => server.cut(), Math.max(0, patienceMs))
  await answered
  clearTimeout(patience)
}

/** A courtesy, and no reason to stay: whoever is not told learns it from the silence. */
async function tellOthers(runtime: NodeRuntime, state: 'draining' | 'stopped'): Promise<void> {
  if (!runtime.config.heartbeatEnabled) return
  let timer: ReturnType<typeof setTimeout> | undefined
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('The database did not answer.')), reserveMs / 4)
  })
  try {
    await Promise.race([markInstance(runtime, state), tooLong])
  } catch (error) {
    runtime.log.warn('The others could not be told of the shutdown', { state, error })
  } finally {
    clearTimeout(timer)
  }
}

try {
  await serve(parseConfig(readEnvironment()))
} catch (error) {
  process.exit(reportStartFault(error))
}
