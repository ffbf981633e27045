import { parseConfig, type Config } from '../../src/config.ts'
import type { Egress, Log, ServiceContext } from '../../src/context.ts'
import { permissions } from '../../src/lib/permissions.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { createSigning } from '../../src/runtime/signing.ts'
import { systemClock } from '../../src/runtime/clock.ts'
import { createMemoryKv } from '../../src/runtime/memory-kv.ts'
import { readConfigured } from '../../src/runtime/read-configured.ts'

const signing = createSigning([{ id: 'test', bytes: new Uint8Array(32) }])

const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, with: () => silent }

export interface ServiceContextOptions {
  /** Environment variables, as an operator would set them. */
  env?: Record<string, string>
  /** Values no variable can have, such as a timeout of a few milliseconds. */
  config?: Partial<Config>
  egress?: Egress
}

/** A service context on a test database, acting in a new workspace with every permission. */
export async function createServiceContext(
  { db }: Pick<ServiceContext, 'db'>,
  { env = {}, config = {}, egress }: ServiceContextOptions = {},
): Promise<ServiceContext> {
  const workspaceId = uuidv7()
  await db
    .insertInto('workspaces')
    .values({ id: workspaceId, slug: `w-${workspaceId}`, name: 'Workspace of a test' })
    .execute()
  return {
    platform: 'node',
    instance: `test-${crypto.randomUUID()}`,
    config: { ...parseConfig({ ENVIRONMENT: 'test', ...env }), ...config },
    db,
    kv: createMemoryKv(systemClock),
    blobs: { put: async () => {}, get: async () => null, delete: async () => {} },
    wake: { runReady() {}, command() {}, events() {}, schedulesChanged() {}, listen: () => () => {} },
    limiter: {
      take: (_key, limit) => ({ allowed: true, limit, remaining: limit, resetSeconds: 0 }),
      peek: (_key, limit) => ({ allowed: true, limit, remaining: limit, resetSeconds: 0 }),
    },
    defer: (work) => void work,
    clock: { now: () => new Date(), monotonicMs: () => performance.now() },
    random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
    log: silent,
    egress: egress ?? ((request, options) => fetch(request, { signal: options?.signal ?? null })),
    readConfigured,
    cipher: { ...signing, seal: async (plain) => plain, open: async (sealed) => sealed },
    probes: {},
    actor: { kind: 'key', id: uuidv7(), workspaceId, permissions: new Set(permissions) },
  }
}
