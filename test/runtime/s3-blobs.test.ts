import { readdir } from 'node:fs/promises'
import { AwsClient } from 'aws4fetch'
import { afterAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import { openNodeRuntime } from '../../src/runtime/node/index.ts'
import { createS3Blobs, s3BaseUrl, type S3Options } from '../../src/runtime/s3-blobs.ts'
import { folderForTest } from '../support/folder.ts'
import { createTestLog } from '../support/log.ts'
import { s3Access } from '../support/s3-access.ts'
import { missingBucket, startS3Server } from '../support/s3-server.ts'
import { describeBlobKeys, describeBlobs } from './blobs.suite.ts'

const server = await startS3Server()
afterAll(() => server.stop())
beforeEach(() => {
  server.faults.length = 0
  server.seen.length = 0
  server.aheadMs = 0
})

const newBucket = () => `b-${crypto.randomUUID()}`
const open = (options: Partial<S3Options> = {}) =>
  createS3Blobs({
    endpoint: server.endpoint,
    bucket: newBucket(),
    ...s3Access,
    pathStyle: true,
    attemptMs: 2_000,
    pauseMs: 1,
    ...options,
  })
const bytes = (text: string) => new TextEncoder().encode(text)
const unavailable = (detail: RegExp, cause: RegExp) => ({
  kind: 'unavailable',
  detail: expect.stringMatching(detail),
  cause: expect.objectContaining({ message: expect.stringMatching(cause) }),
})

describe('port:blobs adapter:s3', () => {
  describeBlobs(() => open())
  describeBlobKeys(() => open())

  test('its probe is well while the storage is, degraded while it is away, and well again by itself', async () => {
    const blobs = open()
    expect(await blobs.probe()).toEqual({ status: 'healthy' })
    await blobs.put('k', bytes('kept'))
    onTestFinished(() => server.start().catch(() => {}))
    await server.stop()
    expect(await blobs.probe()).toMatchObject({ status: 'degraded' })
    await expect(blobs.get('k')).rejects.toMatchObject({ kind: 'unavailable', headers: { 'retry-after': '5' } })
    await server.start()
    await expect.poll(() => blobs.probe()).toEqual({ status: 'healthy' })
    expect(await blobs.get('k')).toEqual(bytes('kept'))
  })

  test('making one contacts nobody', async () => {
    open()
    expect(server.seen).toEqual([])
  })

  test('a blob carries its media type', async () => {
    const bucket = newBucket()
    const blobs = open({ bucket })
    await blobs.put('a.json', bytes('{}'), { mediaType: 'application/json' })
    await blobs.put('a.bin', bytes('x'))
    expect(server.stored(bucket, 'a.json')?.mediaType).toBe('application/json')
    expect(server.stored(bucket, 'a.bin')?.mediaType).toBe('application/octet-stream')
  })

  test('every character that a key may have arrives as it is', async () => {
    const bucket = newBucket()
    const blobs = open({ bucket })
    const key = 'AZaz09_=-/a.b=c/_x-'
    await blobs.put(key, bytes('x'))
    expect(server.stored(bucket, key)?.bytes.toString()).toBe('x')
    expect(await blobs.get(key)).toEqual(bytes('x'))
  })
})

describe('what fails in passing is tried again', () => {
  const passing = [
    { kind: 'answer', status: 503, code: 'SlowDown', retryAfter: '0' },
    { kind: 'answer', status: 500, code: 'InternalError' },
    { kind: 'answer', status: 429, code: 'TooManyRequests' },
    { kind: 'answer', status: 400, code: 'RequestTimeout' },
    { kind: 'lost' },
  ] as const
  test.each(passing)('%o', async (fault) => {
    const blobs = open()
    server.faults.push(fault)
    await blobs.put('k', bytes('x'))
    expect(server.seen).toHaveLength(2)
    server.faults.push(fault, fault)
    expect(await blobs.get('k')).toEqual(bytes('x'))
    server.faults.push(fault)
    await blobs.delete('k')
    expect(await blobs.get('k')).toBeNull()
  })

  test('an answer that breaks off is not taken for the whole', async () => {
    const blobs = open()
    const large = new Uint8Array(300_000).fill(7)
    await blobs.put('k', large)
    server.faults.push({ kind: 'torn' })
    expect(await blobs.get('k')).toEqual(large)
  })

  test('a storage that stays silent is given up and asked again', async () => {
    const blobs = open({ attemptMs: 100 })
    await blobs.put('k', bytes('x'))
    server.faults.push({ kind: 'silent' })
    expect(await blobs.get('k')).toEqual(bytes('x'))
  })

  test('three times, and then it is the caller who may try again', async () => {
    const blobs = open()
    for (let i = 0; i < 3; i++) server.faults.push({ kind: 'answer', status: 503, code: 'SlowDown' })
    await expect(blobs.put('k', bytes('x'))).rejects.toMatchObject({
      ...unavailable(/does not answer/, /PUT k failed 3 times/),
      headers: { 'retry-after': '5' },
    })
    expect(server.seen).toHaveLength(3)
  })
})

describe('what the storage refuses is refused at once, with the reason in the log alone', () => {
  const refusal = async (options: Partial<S3Options>, cause: RegExp) => {
    const blobs = open(options)
    await expect(blobs.put('k', bytes('x'))).rejects.toMatchObject(unavailable(/refused/, cause))
    await expect(blobs.get('k')).rejects.toMatchObject(unavailable(/refused/, cause))
    expect(server.seen).toHaveLength(2)
    expect(await blobs.probe()).toMatchObject({ status: 'degraded', detail: expect.stringMatching(cause) })
  }

  test('a wrong secret', () =>
    refusal({ secretAccessKey: 'wrong' }, /403 SignatureDoesNotMatch: S3_SECRET_ACCESS_KEY is wrong/))
  test('an unknown key', () => refusal({ accessKeyId: 'NOBODY' }, /S3_ACCESS_KEY_ID is unknown/))
  test('another region', () => refusal({ region: 'us-east-1' }, /S3_REGION is another/))
  test('a bucket that is not there is not an empty one', () =>
    refusal({ bucket: missingBucket }, /S3_BUCKET does not exist/))
  test('a clock that is off', async () => {
    server.aheadMs = 3_600_000
    await refusal({}, /this machine's clock is wrong/)
  })
})

test('neither the bytes nor their type can be changed on the way', async () => {
  const aws = new AwsClient({ ...s3Access, service: 's3' })
  const url = `${server.endpoint}/${newBucket()}/k`
  const hash = '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881' // of "x"
  const headers = { 'x-amz-content-sha256': hash, 'content-type': 'text/plain' }
  const signed = await aws.sign(url, { method: 'PUT', headers, body: 'x', aws: { allHeaders: true } })
  const send = (change: RequestInit) => fetch(new Request(signed.clone(), change)).then((answer) => answer.text())
  expect(await send({ body: 'y' })).toContain('XAmzContentSHA256Mismatch')
  const otherType = new Headers(signed.headers)
  otherType.set('content-type', 'text/html')
  expect(await send({ headers: otherType })).toContain('SignatureDoesNotMatch')
  expect(await send({})).toBe('')
})

test('the bucket stands in the path or in the host name', () => {
  const at = (endpoint: string, pathStyle: boolean) => s3BaseUrl({ endpoint, bucket: 'files', pathStyle })
  expect(at('https://minio.internal:9000', true)).toBe('https://minio.internal:9000/files')
  expect(at('https://gateway.example/s3/', true)).toBe('https://gateway.example/s3/files')
  expect(at('https://s3.eu-central-1.amazonaws.com', false)).toBe('https://files.s3.eu-central-1.amazonaws.com')
})

test('a server whose settings name a bucket keeps its files there, and asks for it with the first of them', async () => {
  const bucket = newBucket()
  const dataDir = await folderForTest()
  const config = parseConfig({
    DATA_DIR: dataDir,
    LOG_LEVEL: 'error',
    S3_BUCKET: bucket,
    S3_ENDPOINT: server.endpoint,
    S3_REGION: s3Access.region,
    S3_ACCESS_KEY_ID: s3Access.accessKeyId,
    S3_SECRET_ACCESS_KEY: s3Access.secretAccessKey,
  })
  const runtime = await openNodeRuntime(config, { log: createTestLog() })
  onTestFinished(() => runtime.close())
  expect(server.seen).toEqual([])
  await runtime.blobs.put('k', bytes('x'))
  expect(server.stored(bucket, 'k')?.bytes.toString()).toBe('x')
  expect(await readdir(dataDir)).not.toContain('blobs')
  expect(await runtime.probes['blobs']!()).toEqual({ status: 'healthy' })
})
