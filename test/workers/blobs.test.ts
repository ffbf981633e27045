import { env } from 'cloudflare:workers'
import { describe } from 'vitest'
import type { Blobs } from '../../src/context.ts'
import { createR2Blobs } from '../../src/runtime/workers/r2-blobs.ts'
import { describeBlobKeys, describeBlobs } from '../runtime/blobs.suite.ts'

/** A bucket is shared by all tests: each sees its own corner of it. */
function inACorner(): Blobs {
  const blobs = createR2Blobs(env.FILES)
  const corner = crypto.randomUUID()
  const at = (key: string) => `${corner}/${key}`
  return {
    put: (key, bytes, options) => blobs.put(at(key), bytes, options),
    get: (key) => blobs.get(at(key)),
    delete: (key) => blobs.delete(at(key)),
  }
}

describe('in R2', () => {
  describeBlobs(inACorner)
  describeBlobKeys(() => createR2Blobs(env.FILES))
})
