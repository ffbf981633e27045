import { afterAll, onTestFinished } from 'vitest'
import { assemble, createApp, type App } from '../../src/app.ts'
import { parseConfig, type Config } from '../../src/config.ts'
import type { Log, Runtime } from '../../src/context.ts'
import { jsonb } from '../../src/db/json.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import type { RouteGroup } from '../../src/lib/operation.ts'
import { permissions, type Permission } from '../../src/lib/permissions.ts'
import { createCipher } from '../../src/runtime/cipher.ts'
import { systemClock } from '../../src/runtime/clock.ts'
import { createDeferredWork } from '../../src/runtime/defer.ts'
import { openEgress, refusalLog, rulesOf } from '../../src/runtime/open-egress.ts'
import { createLocalWake } from '../../src/runtime/local-wake.ts'
import { createMemoryBlobs } from '../../src/runtime/memory-blobs.ts'
import { createMemoryKv } from '../../src/runtime/memory-kv.ts'
import { createMemoryLimiter } from '../../src/runtime/memory-limiter.ts'
import { pinnedFetch, resolveAddresses } from '../../src/runtime/node/pinned-fetch.ts'
import { createSignIn } from '../../src/runtime/node/sign-in.ts'
import { readConfigured } from '../../src/runtime/read-configured.ts'
import { formatKey, hashKey, keyPrefix, type KeyKind } from '../../src/services/identity/key-format.ts'
import { createTestDatabase, type TestDatabase } from './database.ts'

export interface TestAppOptions {
  config?: Partial<Config>
  /** Shares the database of another app; otherwise one is made and closed with the file. */
  database?: TestDatabase
  /** Replaces parts of the runtime. */
  runtime?: Partial<Runtime>
  /** Serves these instead of the product's routes. */
  groups?: RouteGroup[]
}
export interface KeyOptions {
  /** Default: every permission. */
  scopes?: readonly string[]
  /** An existing workspace; default: a new one. */
  workspace?: string
  kind?: KeyKind
  rateLimit?: number
  allowedDomains?: string[]
}

type Fields = Record<string, string>
/** Requests as one key. */
export interface Client {
  workspaceId: string
  key: string
  keyId: string
  request(method: string, path: string, body?: unknown, headers?: Fields): Promise<Response>
  get(path: string, headers?: Fields): Promise<Response>
  post(path: string, body?: unknown, headers?: Fields): Promise<Response>
  put(path: string, body?: unknown, headers?: Fields): Promise<Response>
  patch(path: string, body?: unknown, headers?: Fields): Promise<Response>
  del(path: string, headers?: Fields): Promise<Response>
}
export interface TestApp extends Client {
  app: App
  runtime: Runtime
  database: TestDatabase
  db: TestDatabase['db']
  /** The same verbs as another key, in a workspace of its own unless told otherwise. */
  signIn(options?: KeyOptions): Promise<Client>
  /** The lines that were logged, as they were passed. */
  logged: { level: string; message: string; fields: Record<string, unknown> }[]
  /** Waits for deferred work. */
  settle(): Promise<void>
}

/** A whole app on a database of its own, signed in with every permission. Call it at the head of a file or in a test. */
export async function createTestApp(options: TestAppOptions = {}): Promise<TestApp> {
  const database = options.database ?? (await createTestDatabase())
  const { log, lines } = createMemoryLog()
  const config = testConfig(options.config)
  const deferred = createDeferredWork(log)
  const kv = createMemoryKv(systemClock)
  const cipher = createCipher(`test:${btoa('0'.repeat(32))}`)
  const runtime: Runtime = {
    platform: 'node',
    instance: `test-${crypto.randomUUID()}`,
    config,
    db: database.engine,
    kv,
    blobs: createMemoryBlobs(),
    wake: createLocalWake(log),
    limiter: createMemoryLimiter(systemClock),
    defer: (work) => deferred.defer(work),
    clock: systemClock,
    random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
    log,
    egress: openEgress({
      config,
      fetch: pinnedFetch,
      resolve: resolveAddresses,
      db: database.engine,
      cipher,
      kv,
      defer: deferred.defer,
      log,
    }),
    signIn: createSignIn(
      config,
      (workspaceId) => rulesOf(database.engine, workspaceId),
      refusalLog({ db: database.engine, kv, defer: (work) => deferred.defer(work) }),
    ),
    readConfigured,
    cipher,
    probes: {},
    ...options.runtime,
  }
  const open = () => ({ runtime })
  const app = options.groups ? assemble(config, open, options.groups) : createApp(config, open)
  const signIn = async (key: KeyOptions = {}) => clientOf(app, await insertKey(runtime, key))
  const close = async () => {
    await deferred.settled()
    if (!options.database) await database.close()
  }
  // In a test it lives as long as the test, else as long as the file; vitest tells which by refusing the one.
  try {
    onTestFinished(close)
  } catch {
    afterAll(close)
  }
  return {
    app,
    runtime,
    database,
    db: database.db,
    logged: lines,
    signIn,
    settle: () => deferred.settled(),
    ...(await signIn()),
  }
}

/** As a developer's environment gives it, with the rate limits out of the way and loopback open to the egress guard. */
export function testConfig(overrides: Partial<Config> = {}): Config {
  const parsed = parseConfig({
    ENVIRONMENT: 'test',
    RATE_LIMIT_DEFAULT: '100000/minute',
    RATE_LIMIT_AUTHENTICATED: '100000/minute',
    EGRESS_ALLOW: '127.0.0.0/8,localhost',
    CORS_ALLOW_ORIGINS: 'https://console.example',
  })
  return { ...parsed, ...overrides }
}

function clientOf(app: App, { workspaceId, key, keyId }: Pick<Client, 'workspaceId' | 'key' | 'keyId'>): Client {
  const request: Client['request'] = (method, path, body, headers = {}) =>
    app.request(path, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
  return {
    workspaceId,
    key,
    keyId,
    request,
    get: (path, headers) => request('GET', path, undefined, headers),
    post: (path, body, headers) => request('POST', path, body, headers),
    put: (path, body, headers) => request('PUT', path, body, headers),
    patch: (path, body, headers) => request('PATCH', path, body, headers),
    del: (path, headers) => request('DELETE', path, undefined, headers),
  }
}

async function insertKey({ db }: Pick<Runtime, 'db'>, options: KeyOptions) {
  const workspaceId = options.workspace ?? uuidv7()
  const scopes: readonly (Permission | string)[] = options.scopes ?? permissions
  if (options.workspace === undefined) {
    await db
      .insertInto('workspaces')
      // Elsewhere the operator's permissions would not count.
      .values({
        id: workspaceId,
        slug: `w-${workspaceId}`,
        name: 'A workspace',
        is_operator: scopes.some((scope) => scope.startsWith('system:')),
      })
      .execute()
  }
  const kind = options.kind ?? 'server'
  const key = formatKey(kind, crypto.getRandomValues(new Uint8Array(32)))
  const keyId = uuidv7()
  await db
    .insertInto('api_keys')
    .values({
      id: keyId,
      workspace_id: workspaceId,
      name: 'A key',
      kind,
      prefix: keyPrefix(key),
      hash: await hashKey(key),
      scopes: jsonb([...scopes]),
      rate_limit: options.rateLimit ?? null,
      allowed_domains: jsonb(options.allowedDomains ?? []),
    })
    .execute()
  return { workspaceId, key, keyId }
}

function createMemoryLog() {
  const lines: TestApp['logged'] = []
  const bound = (more: object): Log => {
    const write = (level: string) => (message: string, fields?: object) => {
      lines.push({ level, message, fields: { ...more, ...fields } })
    }
    return {
      debug: write('debug'),
      info: write('info'),
      warn: write('warn'),
      error: write('error'),
      with: (fields) => bound({ ...more, ...fields }),
    }
  }
  return { log: bound({}), lines }
}
