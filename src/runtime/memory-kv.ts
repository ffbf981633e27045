import type { Clock, Kv } from '../context.ts'

interface Entry {
  value: string
  endsMs: number
}

export interface MemoryKvBounds {
  maxKeys?: number
  /** Of keys and values together, in characters. */
  maxLength?: number
}

/**
 * Values of this process alone. Bounded in number and in length: when full, what was written longest ago goes first.
 */
export function createMemoryKv(
  clock: Pick<Clock, 'monotonicMs'>,
  { maxKeys = 50_000, maxLength = 16 * 1024 * 1024 }: MemoryKvBounds = {},
): Kv {
  // The order of the map is the order of writing.
  const entries = new Map<string, Entry>()
  let length = 0

  function forget(key: string): void {
    const entry = entries.get(key)
    if (entry === undefined) return
    entries.delete(key)
    length -= key.length + entry.value.length
  }
  function live(key: string): Entry | undefined {
    const entry = entries.get(key)
    if (entry === undefined || clock.monotonicMs() < entry.endsMs) return entry
    forget(key)
    return undefined
  }
  function write(key: string, value: string, endsMs: number): void {
    forget(key)
    entries.set(key, { value, endsMs })
    length += key.length + value.length
    for (const oldest of entries.keys()) {
      if (entries.size <= maxKeys && length <= maxLength) return
      forget(oldest)
    }
  }
  const endOf = (ttlSeconds: number) => clock.monotonicMs() + ttlSeconds * 1000

  return {
    async get(key) {
      return live(key)?.value ?? null
    },
    async set(key, value, ttlSeconds) {
      write(key, value, endOf(ttlSeconds))
    },
    async setIfAbsent(key, value, ttlSeconds) {
      if (live(key) !== undefined) return false
      write(key, value, endOf(ttlSeconds))
      return true
    },
    async increment(key, by, ttlSeconds) {
      const entry = live(key)
      const before = entry === undefined ? 0 : Number(entry.value)
      if (!Number.isSafeInteger(before)) throw new TypeError('The value is not a counter.')
      write(key, String(before + by), entry?.endsMs ?? endOf(ttlSeconds))
      return before + by
    },
    async delete(key) {
      forget(key)
    },
  }
}
