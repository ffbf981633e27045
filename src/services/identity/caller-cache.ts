import type { Runtime } from '../../context.ts'
import { anyCaller } from '../../lib/any-run.ts'
import type { Caller } from './caller.ts'

// What changes elsewhere is heard of at once; where that was lost, it counts after this time.
export const cacheMs = 10_000
const capacity = 5_000

interface Entry {
  caller: Caller
  validUntilMs: number
}

/**
 * Verified callers by what they sent, for a few seconds, so that a busy one costs no query and no promise. What was refused
 * is not kept.
 */
export interface CallerCache {
  get(credential: string, nowMs: number): Caller | undefined
  put(credential: string, caller: Caller, validUntilMs: number, generation: number): void
  /** Everything of a key, a user or a workspace, by its id; of `anyCaller` everything. */
  forget(id: string): void
  /** Moves with every `forget`: an answer read before one is not stored after it. */
  generation(): number
}

// By the parsed configuration, which lives as long as the process or the isolate.
const caches = new WeakMap<object, CallerCache>()

export function callerCacheOf({ platform, config, wake }: Pick<Runtime, 'platform' | 'config' | 'wake'>): CallerCache {
  let cache = caches.get(config)
  if (!cache) {
    // Nothing tells an isolate what another one has revoked, so it asks anew each time: the request has a connection anyway.
    const own = createCallerCache(platform === 'workers' ? 0 : capacity)
    caches.set(config, (cache = own))
    // The database tells every process of a change in the commit that makes it (migration 0023).
    wake.listen((signal) => {
      if (signal.kind === 'callers-changed') own.forget(signal.callerId)
    })
  }
  return cache
}

export function createCallerCache(most = capacity): CallerCache {
  const entries = new Map<string, Entry>()
  let generation = 0
  return {
    get(credential, nowMs) {
      const entry = entries.get(credential)
      if (entry === undefined) return undefined
      if (nowMs < entry.validUntilMs) return entry.caller
      entries.delete(credential)
      return undefined
    },
    put(credential, caller, validUntilMs, readAt) {
      if (readAt !== generation || most === 0) return
      entries.delete(credential)
      if (entries.size >= most) entries.delete(entries.keys().next().value!)
      entries.set(credential, { caller, validUntilMs })
    },
    forget(id) {
      generation++
      if (id === anyCaller) entries.clear()
      for (const [credential, { caller }] of entries) {
        if (caller.id === id || caller.actor.id === id || caller.actor.workspaceId === id) entries.delete(credential)
      }
    },
    generation: () => generation,
  }
}
