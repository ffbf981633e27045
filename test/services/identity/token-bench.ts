import type { Config } from '../../../src/config.ts'
import type { ServiceContext } from '../../../src/context.ts'
import { createMemoryKv } from '../../../src/runtime/memory-kv.ts'
import { verifyToken } from '../../../src/services/identity/verify-token.ts'
import { createIdentityProvider, type TokenOptions } from '../../support/jwks-server.ts'
import { createServiceContext } from '../../support/service-context.ts'

const noDatabase = { db: { insertInto: () => ({ values: () => ({ execute: async () => [] }) }) } } as unknown as Pick<
  ServiceContext,
  'db'
>

/** A process that trusts a provider of its own, without a database and with a clock that only the test moves. */
export async function setUp(config: Partial<Config> = {}, on: Pick<ServiceContext, 'db'> = noDatabase) {
  let nowMs = Date.now()
  const provider = await createIdentityProvider(() => nowMs)
  const logged: unknown[] = []
  const deferred: Promise<unknown>[] = []
  const write = (message: string, fields?: object) => void logged.push({ message, ...fields })
  const base = await createServiceContext(on, { config: { ...provider.config, ...config } })
  const clock = { now: () => new Date(nowMs), monotonicMs: () => nowMs }
  const ctx: ServiceContext = {
    ...base,
    clock,
    kv: createMemoryKv(clock),
    defer: (work) => void deferred.push(work),
    log: { debug: write, info: write, warn: write, error: write, with: () => base.log },
  }
  return {
    ctx,
    provider,
    logged,
    verify: async (options?: TokenOptions) => verifyToken(ctx, await provider.token(options)),
    advance: (ms: number) => void (nowMs += ms),
    nowS: () => Math.floor(nowMs / 1000),
    settle: () => Promise.all(deferred),
  }
}
