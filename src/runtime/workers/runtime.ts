import { sql } from 'kysely'
import { parseConfig, type Config } from '../../config.ts'
import type { Cipher, ComponentHealth, Log, Runtime } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { tracesUrl } from '../../config/tracing.ts'
import { Measures } from '../../lib/metrics/measures.ts'
import { createCipher } from '../cipher.ts'
import { systemClock } from '../clock.ts'
import { createDeferredWork } from '../defer.ts'
import { openEgress } from '../open-egress.ts'
import { createLog } from '../log.ts'
import { readConfigured } from '../read-configured.ts'
import { s3BlobsOf, type S3Blobs } from '../s3-blobs.ts'
import type { SharedStore } from '../shared-store.ts'
import type { OpenedTracing } from '../tracing/open-tracing.ts'
import type { Bindings, WaitUntil } from './bindings.ts'
import { createBoundAssets } from './assets.ts'
import { openRequestDatabase } from './database.ts'
import { alarmTrouble, createDispatchWake } from './dispatch.ts'
import { createR2Blobs } from './r2-blobs.ts'
import { openWorkerStore } from './shared-store.ts'

/** What an isolate keeps between requests: nothing here holds a socket. */
interface IsolateParts {
  config: Config
  log: Log
  cipher: Cipher
  /** Null until a request has loaded it, and where traces go nowhere. */
  tracing: OpenedTracing | null
  store: SharedStore
  s3: S3Blobs | null
}
const known = new WeakMap<Bindings, IsolateParts>()

function isolateParts(bindings: Bindings): IsolateParts {
  let parts = known.get(bindings)
  if (!parts) {
    const config = parseConfig({ ...bindings }, { runtime: 'workers' })
    const log = createLog({ level: config.logLevel, format: 'json', write: (line) => console.log(line) })
    for (const warning of config.warnings) log.warn(warning)
    const keyRing = config.credentialEncryptionKey
    parts = {
      config,
      log,
      cipher: keyRing ? createCipher(keyRing.reveal()) : cipherWithoutKey,
      tracing: null,
      s3: s3BlobsOf(config),
      store: openWorkerStore(config, bindings, { clock: systemClock, log }),
    }
    known.set(bindings, parts)
  }
  return parts
}
// Made with the first request: Workers give no random numbers while a module loads.
let instance: string | null = null
const measures = new Measures()
const instanceOfIsolate = (): string => (instance ??= `workers-${crypto.randomUUID().slice(0, 8)}`)

export const workerConfig = (bindings: Bindings): Config => isolateParts(bindings).config

const withoutKey = (what: string) => async (): Promise<never> => {
  throw new AppError('unavailable', `${what} need CREDENTIAL_ENCRYPTION_KEY, a secret of the Worker that is not set.`)
}
const [noVault, noLinks] = [withoutKey('Credentials'), withoutKey('Signed links')]
const cipherWithoutKey: Cipher = { seal: noVault, open: noVault, sign: noLinks, verify: noLinks }

/** Loads what only some installations want. Every request awaits its own import: it may not wait for one that another began. */
export function prepareIsolate(bindings: Bindings): Promise<void> | undefined {
  const parts = isolateParts(bindings)
  const { config, log } = parts
  if (parts.tracing || tracesUrl(config) === null) return undefined
  return import('../tracing/open-tracing.ts').then(({ openTracing }) => {
    parts.tracing ??= openTracing({ config, platform: 'workers', instance: instanceOfIsolate(), log })
  })
}

export async function openPreparedRuntime(bindings: Bindings, waitUntil: WaitUntil) {
  await prepareIsolate(bindings)
  return openWorkerRuntime(bindings, waitUntil)
}

/** The runtime of one request, cron trigger or alarm. Whoever opens it closes it, once the answer's body has ended. */
export function openWorkerRuntime(
  bindings: Bindings,
  waitUntil: WaitUntil,
): { runtime: Runtime; close(): Promise<void> } {
  const { config, log, cipher, tracing, s3, store } = isolateParts(bindings)
  const { db, close } = openRequestDatabase(bindings.HYPERDRIVE)
  const deferred = createDeferredWork(log)
  const runtime: Runtime = {
    platform: 'workers',
    instance: instanceOfIsolate(),
    config,
    db,
    kv: store.kv,
    blobs: s3 ?? createR2Blobs(bindings.FILES),
    wake: createDispatchWake(bindings, waitUntil, log),
    limiter: store.limiter,
    defer(work) {
      deferred.defer(work)
      waitUntil(deferred.settled())
    },
    clock: systemClock,
    random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
    log,
    // No address is pinned: a Worker cannot resolve names itself, and Cloudflare's network lets it reach no private one.
    egress: openEgress({
      config,
      fetch: (request) => fetch(request),
      resolve: null,
      db,
      cipher,
      kv: store.kv,
      defer: (work) => runtime.defer(work),
      log,
    }),
    readConfigured,
    cipher,
    measures,
    ...(tracing && { tracing, collectors: [tracing.collector] }),
    ...(bindings.ASSETS ? { assets: createBoundAssets(bindings.ASSETS) } : {}),
    probes: {
      ...store.probes,
      database: () => measured(async () => void (await sql`select 1`.execute(db))),
      blobs: () => s3?.probe() ?? measured(async () => void (await bindings.FILES.head('health'))),
      wake: () => measured(() => alarmTrouble(bindings, db)),
    },
  }
  return {
    runtime,
    async close() {
      // What was deferred may still be using the database.
      await deferred.settled()
      await close()
      // Nobody waits for the receiver: neither an answer nor the next alarm.
      if (tracing) waitUntil(tracing.flush())
    },
  }
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
