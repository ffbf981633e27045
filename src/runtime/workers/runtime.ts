import { sql } from 'kysely'
import { parseConfig, type Config } from '../../config.ts'
import type { Cipher, ComponentHealth, Limiter, Log, Runtime } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { createCipher } from '../cipher.ts'
import { systemClock } from '../clock.ts'
import { loadCredential } from '../credential-reader.ts'
import { createDeferredWork } from '../defer.ts'
import { createEgress } from '../egress.ts'
import { createLog } from '../log.ts'
import { createMemoryLimiter } from '../memory-limiter.ts'
import type { Bindings, WaitUntil } from './bindings.ts'
import { createBoundAssets } from './assets.ts'
import { openRequestDatabase } from './database.ts'
import { createDispatchWake, serviceClock } from './dispatch.ts'
import { createR2Blobs } from './r2-blobs.ts'

/** What an isolate keeps between requests: nothing here holds a socket. */
interface IsolateParts {
  config: Config
  log: Log
  cipher: Cipher
}
const known = new WeakMap<Bindings, IsolateParts>()
// One for the isolate: another isolate counts for itself, which the limiter's answers cannot know.
const limiter: Limiter = createMemoryLimiter(systemClock)

function isolateParts(bindings: Bindings): IsolateParts {
  let parts = known.get(bindings)
  if (!parts) {
    const config = parseConfig({ ...bindings }, { runtime: 'workers' })
    const log = createLog({ level: config.logLevel, format: 'json', write: (line) => console.log(line) })
    for (const warning of config.warnings) log.warn(warning)
    const keyRing = config.credentialEncryptionKey
    parts = { config, log, cipher: keyRing ? createCipher(keyRing.reveal()) : cipherWithoutKey }
    known.set(bindings, parts)
  }
  return parts
}
// Made with the first request: Workers give no random numbers while a module loads.
let instance: string | null = null
const instanceOfIsolate = (): string => (instance ??= `workers-${crypto.randomUUID().slice(0, 8)}`)

export const workerConfig = (bindings: Bindings): Config => isolateParts(bindings).config

const withoutKey = async (): Promise<never> => {
  throw new AppError(
    'unavailable',
    'Credentials need CREDENTIAL_ENCRYPTION_KEY, a secret of the Worker that is not set.',
  )
}
const cipherWithoutKey: Cipher = { seal: withoutKey, open: withoutKey }

/** The runtime of one request, cron trigger or alarm. Whoever opens it closes it, once the answer's body has ended. */
export function openWorkerRuntime(
  bindings: Bindings,
  waitUntil: WaitUntil,
): { runtime: Runtime; close(): Promise<void> } {
  const { config, log, cipher } = isolateParts(bindings)
  const { db, close } = openRequestDatabase(bindings.HYPERDRIVE)
  const deferred = createDeferredWork(log)
  const runtime: Runtime = {
    platform: 'workers',
    instance: instanceOfIsolate(),
    config,
    db,
    blobs: createR2Blobs(bindings.FILES),
    wake: createDispatchWake(bindings, waitUntil, log),
    limiter,
    defer(work) {
      deferred.defer(work)
      waitUntil(deferred.settled())
    },
    clock: systemClock,
    random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
    log,
    // No address is pinned: a Worker cannot resolve names itself, and Cloudflare's network lets it reach no private one.
    egress: createEgress({
      config,
      fetch: (request) => fetch(request),
      resolve: null,
      credentials: (workspaceId, slug) => loadCredential(db, cipher, workspaceId, slug, runtime.defer),
      log,
    }),
    cipher,
    ...(bindings.ASSETS ? { assets: createBoundAssets(bindings.ASSETS) } : {}),
    probes: {
      database: () => measured(async () => void (await sql`select 1`.execute(db))),
      blobs: () => measured(async () => void (await bindings.FILES.head('health'))),
      wake: () => measured(() => alarmsPass(bindings)),
    },
  }
  return {
    runtime,
    async close() {
      // What was deferred may still be using the database.
      await deferred.settled()
      await close()
    },
  }
}

async function alarmsPass(bindings: Bindings): Promise<string | undefined> {
  const { failures, lastError } = await serviceClock(bindings).status()
  return failures > 0 ? `The last ${failures} alarm passes failed: ${lastError}` : undefined
}

/** Runs the probe; a text that it returns is what is wrong with a part that still answers. */
async function measured(probe: () => Promise<string | void>): Promise<ComponentHealth> {
  const begun = Date.now()
  try {
    const detail = await probe()
    const latency_ms = Date.now() - begun
    return detail === undefined ? { status: 'healthy', latency_ms } : { status: 'degraded', detail, latency_ms }
  } catch {
    return { status: 'unhealthy', detail: 'No answer; the log has the reason.', latency_ms: Date.now() - begun }
  }
}
