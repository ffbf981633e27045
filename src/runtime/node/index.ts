import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Config } from '../../config.ts'
import type { Cipher, Log, Runtime } from '../../context.ts'
import { Measures } from '../../lib/metrics/measures.ts'
import { createCipher } from '../cipher.ts'
import { systemClock } from '../clock.ts'
import { createDeferredWork } from '../defer.ts'
import { openEgress, refusalLog, rulesOf } from '../open-egress.ts'
import { readConfigured } from '../read-configured.ts'
import { s3BlobsOf } from '../s3-blobs.ts'
import { createNodeAssets } from './assets.ts'
import { openDataDir } from './data-dir.ts'
import { openDatabase } from './database.ts'
import { sampleEventLoopLag } from './event-loop-lag.ts'
import { openFolderBlobs } from './folder-blobs.ts'
import { loadOrCreateKeyRing } from './key-ring.ts'
import { pinnedFetch, resolveAddresses } from './pinned-fetch.ts'
import { processFigures } from './process-figures.ts'
import { createProcessLog } from './process-log.ts'
import { processMetrics } from './process-metrics.ts'
import { openProcessTracing } from './tracing.ts'
import { openProcessStore } from './shared-store.ts'
import { createSignIn } from './sign-in.ts'
import { createSmtp } from './smtp.ts'

export type NodeRuntime = Runtime & {
  /** Tells everything that looks at `shutdown`. */
  announceShutdown(): void
  /** Waits for deferred work, then closes the database. */
  close(): Promise<void>
  /** Which database, in words for a person; without a password. */
  databaseLabel: string
  /** DATA_DIR as an absolute path. */
  dataDir: string
}

export interface NodeRuntimeOptions {
  log?: Log
}

/** The runtime of a long-lived process, on Node and on Bun. Throws StartupError with a reason to act on. */
export async function openNodeRuntime(config: Config, options: NodeRuntimeOptions = {}): Promise<NodeRuntime> {
  const log = options.log ?? createProcessLog(config)
  const dataDir = openDataDir(config.dataDir)
  const cipher = await openCipher(config, dataDir, log)
  const blobs = s3BlobsOf(config) ?? (await openFolderBlobs(join(dataDir, 'blobs')))
  const platform = navigator.userAgent.startsWith('Bun/') ? 'bun' : 'node'
  const instance = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`
  const tracing = await openProcessTracing(config, { platform, instance, log })
  const database = await openDatabase(config, dataDir, log, tracing?.onQuery)
  const store = openProcessStore(config, { clock: systemClock, log })
  const deferred = createDeferredWork(log)
  const figures = processFigures()
  const metrics = processMetrics()
  const stopSampling = sampleEventLoopLag((ms) => {
    figures.observeLag(ms)
    metrics.observeLag(ms)
  })
  const shutdown = new AbortController()
  const { db } = database
  return {
    platform,
    instance,
    config,
    db,
    kv: store.kv,
    blobs,
    wake: database.wake,
    limiter: store.limiter,
    defer: deferred.defer,
    clock: systemClock,
    random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
    log,
    egress: openEgress({
      config,
      fetch: pinnedFetch,
      resolve: resolveAddresses,
      db,
      cipher,
      kv: store.kv,
      defer: deferred.defer,
      log,
    }),
    signIn: createSignIn(
      config,
      (workspaceId) => rulesOf(db, workspaceId),
      refusalLog({ db, kv: store.kv, defer: deferred.defer }),
    ),
    readConfigured,
    ...(config.smtpUrl && { smtp: createSmtp(config.smtpUrl.reveal()) }),
    cipher,
    assets: createNodeAssets(),
    probes: { ...database.probes, ...store.probes, blobs: () => blobs.probe() },
    figures: figures.read,
    measures: new Measures(),
    collectors: [metrics.collector, ...database.collectors, ...(tracing ? [tracing.collector] : [])],
    ...(tracing && { tracing }),
    shutdown: shutdown.signal,
    announceShutdown: () => shutdown.abort(),
    databaseLabel: database.label,
    dataDir,
    async close() {
      stopSampling()
      await deferred.settled()
      await tracing?.close()
      store.close()
      await database.close()
    },
  }
}

async function openCipher(config: Config, dataDir: string, log: Log): Promise<Cipher> {
  if (config.credentialEncryptionKey) return createCipher(config.credentialEncryptionKey.reveal())
  const { keyRing, file, created } = await loadOrCreateKeyRing(dataDir)
  if (created) log.warn(`Credentials are encrypted under a new key in ${file}: back it up`)
  return createCipher(keyRing)
}
