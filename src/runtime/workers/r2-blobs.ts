import type { Blobs } from '../../context.ts'
import { checkBlobKey } from '../blob-keys.ts'

export function createR2Blobs(bucket: R2Bucket): Blobs {
  return {
    async put(key, bytes, options) {
      const httpMetadata = options?.mediaType === undefined ? {} : { contentType: options.mediaType }
      await bucket.put(checkBlobKey(key), bytes, { httpMetadata })
    },
    async get(key) {
      const object = await bucket.get(checkBlobKey(key))
      return object === null ? null : new Uint8Array(await object.arrayBuffer())
    },
    async delete(key) {
      await bucket.delete(checkBlobKey(key))
    },
  }
}
