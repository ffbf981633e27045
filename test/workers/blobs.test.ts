import { env } from 'cloudflare:workers'
import { describe, expect, inject, test } from 'vitest'
import type { Blobs } from '../../src/context.ts'
import { createS3Blobs } from '../../src/runtime/s3-blobs.ts'
import { createR2Blobs } from '../../src/runtime/workers/r2-blobs.ts'
import { openWorkerRuntime } from '../../src/runtime/workers/runtime.ts'
import { describeBlobKeys, describeBlobs } from '../runtime/blobs.suite.ts'
import { s3Access } from '../support/s3-access.ts'
import './support/provided.ts'

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

describe('port:blobs adapter:r2', () => {
  describeBlobs(inACorner)
  describeBlobKeys(() => createR2Blobs(env.FILES))

  test('its probe is well while the bucket answers, and not while it does not', async () => {
    const probeOf = async (files: R2Bucket) => {
      const { runtime, close } = openWorkerRuntime({ ...env, FILES: files }, () => {})
      const { status } = await runtime.probes['blobs']!()
      await close()
      return status
    }
    expect(await probeOf(env.FILES)).toBe('healthy')
    const gone = { head: () => Promise.reject(new Error('R2 is away.')) } as unknown as R2Bucket
    expect(await probeOf(gone)).not.toBe('healthy')
    expect(await probeOf(env.FILES)).toBe('healthy')
  })
})

describe('port:blobs adapter:s3', () => {
  const open = (endpoint = inject('s3Endpoint')) =>
    createS3Blobs({ endpoint, ...s3Access, bucket: `b-${crypto.randomUUID()}`, pathStyle: true, pauseMs: 1 })
  describeBlobs(() => open())
  describeBlobKeys(() => open())

  test('its probe is well while the storage is, and degraded while it is away', async () => {
    expect(await open().probe()).toEqual({ status: 'healthy' })
    // Nothing listens on the discard port.
    const away = open('http://127.0.0.1:9')
    expect(await away.probe()).toMatchObject({ status: 'degraded' })
    await expect(away.get('k')).rejects.toMatchObject({ kind: 'unavailable' })
  })

  test('where S3_BUCKET is set it is used instead of the binding', async () => {
    const settings = {
      S3_BUCKET: `b-${crypto.randomUUID()}`,
      S3_ENDPOINT: inject('s3Endpoint'),
      S3_REGION: s3Access.region,
      S3_ACCESS_KEY_ID: s3Access.accessKeyId,
      S3_SECRET_ACCESS_KEY: s3Access.secretAccessKey,
    }
    const { runtime, close } = openWorkerRuntime({ ...env, ...settings }, () => {})
    const key = crypto.randomUUID()
    await runtime.blobs.put(key, new Uint8Array([1]))
    expect(await createR2Blobs(env.FILES).get(key)).toBeNull()
    expect(await runtime.blobs.get(key)).toEqual(new Uint8Array([1]))
    expect(await runtime.probes['blobs']!()).toEqual({ status: 'healthy' })
    await close()
  })
})
