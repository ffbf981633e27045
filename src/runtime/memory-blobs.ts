import type { Blobs } from '../context.ts'
import { checkBlobKey } from './blob-keys.ts'

/** Blobs for tests and throw-away servers. Copies on the way in and out, as a real store would. */
export function createMemoryBlobs(): Blobs {
  const stored = new Map<string, Uint8Array>()
  return {
    async put(key, bytes) {
      stored.set(checkBlobKey(key), bytes.slice())
    },
    async get(key) {
      return stored.get(checkBlobKey(key))?.slice() ?? null
    },
    async delete(key) {
      stored.delete(checkBlobKey(key))
    },
  }
}
