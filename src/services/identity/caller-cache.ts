import type { Runtime } from '../../context.ts'
import type { Caller } from './caller.ts'

// A revocation made by another process is obeyed within this time; one made by this process at once.
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
  /** Everything of a key or a user, by its id. */
  forget(callerId: string): void
  /** Moves with every `forget`: an answer read before one is not stored after it. */
  generation(): number
}

const caches = new WeakMap<object, CallerCache>()

export function callerCacheOf(runtime: Pick<Runtime, 'platform' | 'db' | 'config'>): CallerCache {
  // On Workers a database lives as long as its request, the parsed config as long as the isolate.
  const owner = runtime.platform === 'workers' ? runtime.config : runtime.db
  let cache = caches.get(owner)
  if (!cache) caches.set(owner, (cache = createCallerCache()))
  return cache
}

export function createCallerCache(): CallerCache {
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
      if (readAt !== generation) return
      entries.delete(credential)
      if (entries.size >= capacity) entries.delete(entries.keys().next().value!)
      entries.set(credential, { caller, validUntilMs })
    },
    forget(callerId) {
      generation++
      for (const [credential, { caller }] of entries) if (caller.id === callerId) entries.delete(credential)
    },
    generation: () => generation,
  }
}
