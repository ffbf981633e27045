import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Config } from '../../config.ts'
import type { Cipher, Log, Runtime } from '../../context.ts'
import { createCipher } from '../cipher.ts'
import { systemClock } from '../clock.ts'
import { loadCredential } from '../credential-reader.ts'
import { createDeferredWork } from '../defer.ts'
import { createEgress } from '../egress.ts'
import { createMemoryLimiter } from '../memory-limiter.ts'
import { createNodeAssets } from './assets.ts'
import { openDataDir } from './data-dir.ts'
import { openDatabase } from './database.ts'
import { openFolderBlobs } from './folder-blobs.ts'
import { loadOrCreateKeyRing } from './key-ring.ts'
import { pinnedFetch, resolveAddresses } from './pinned-fetch.ts'
import { createProcessLog } from './process-log.ts'

export type NodeRuntime = Runtime & {
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
  const blobs = await openFolderBlobs(join(dataDir, 'blobs'))
  const database = await openDatabase(config, dataDir, log)
  const deferred = createDeferredWork(log)
  const { db } = database
  return {
    platform: navigator.userAgent.startsWith('Bun/') ? 'bun' : 'node',
    instance: `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`,
    config,
    db,
    blobs,
    wake: database.wake,
    limiter: createMemoryLimiter(systemClock),
    defer: deferred.defer,
    clock: systemClock,
    random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
    log,
    egress: createEgress({
      config,
      fetch: pinnedFetch,
      resolve: resolveAddresses,
      credentials: (workspaceId, slug) => loadCredential(db, cipher, workspaceId, slug, deferred.defer),
      log,
    }),
    cipher,
    assets: createNodeAssets(),
    probes: { ...database.probes, blobs: () => blobs.probe() },
    databaseLabel: database.label,
    dataDir,
    async close() {
      await deferred.settled()
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
