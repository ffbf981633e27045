import type { Runtime } from '../../context.ts'
import type { VerifiedKey } from './verify-key.ts'

// A revocation made by another process is obeyed within this time; one made by this process at once.
export const cacheMs = 10_000
const capacity = 5_000

interface Entry {
  key: VerifiedKey
  validUntilMs: number
}

/** Verified keys by token, for a few seconds, so that a busy key costs no query and no promise. Unknown tokens are not kept. */
export interface KeyCache {
  get(token: string, nowMs: number): VerifiedKey | undefined
  put(token: string, key: VerifiedKey, validUntilMs: number, generation: number): void
  forget(keyId: string): void
  /** Moves with every `forget`: an answer read before one is not stored after it. */
  generation(): number
}

const caches = new WeakMap<object, KeyCache>()

export function keyCacheOf(runtime: Pick<Runtime, 'platform' | 'db' | 'config'>): KeyCache {
  // On Workers a database lives as long as its request, the parsed config as long as the isolate.
  const owner = runtime.platform === 'workers' ? runtime.config : runtime.db
  let cache = caches.get(owner)
  if (!cache) caches.set(owner, (cache = createKeyCache()))
  return cache
}

export function createKeyCache(): KeyCache {
  const entries = new Map<string, Entry>()
  let generation = 0
  return {
    get(token, nowMs) {
      const entry = entries.get(token)
      if (entry === undefined) return undefined
      if (nowMs < entry.validUntilMs) return entry.key
      entries.delete(token)
      return undefined
    },
    put(token, key, validUntilMs, readAt) {
      if (readAt !== generation) return
      entries.delete(token)
      if (entries.size >= capacity) entries.delete(entries.keys().next().value!)
      entries.set(token, { key, validUntilMs })
    },
    forget(keyId) {
      generation++
      for (const [token, entry] of entries) if (entry.key.keyId === keyId) entries.delete(token)
    },
    generation: () => generation,
  }
}
