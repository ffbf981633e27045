import { AwsClient } from 'aws4fetch'
import type { Config } from '../config.ts'
import type { Blobs, ComponentHealth } from '../context.ts'
import { AppError } from '../lib/errors.ts'
import { toHex } from '../lib/hex.ts'
import { checkBlobKey } from './blob-keys.ts'

export interface S3Options {
  /** `https://s3.eu-central-1.amazonaws.com`, without the bucket. */
  endpoint: string
  bucket: string
  region: string
  accessKeyId: string
  secretAccessKey: string
  /** The bucket in the path instead of the host name. */
  pathStyle: boolean
  /** For tests: how long one attempt may take, and how long to wait before the second. */
  attemptMs?: number
  pauseMs?: number
}

export interface S3Blobs extends Blobs {
  probe(): Promise<ComponentHealth>
}

const attempts = 3
const attemptMs = 15_000
const pauseMs = 200
const maxPauseMs = 2_000
/** Below the time that /health gives a probe. */
const probeMs = 2_500

/** The store that S3_BUCKET names; null where it names none. */
export function s3BlobsOf(config: Config): S3Blobs | null {
  const { s3Bucket, s3Endpoint, s3AccessKeyId, s3SecretAccessKey, s3PathStyle, s3Region } = config
  if (s3Bucket === null || s3Endpoint === null || s3AccessKeyId === null || s3SecretAccessKey === null) return null
  return createS3Blobs({
    endpoint: s3Endpoint,
    bucket: s3Bucket,
    region: s3Region,
    accessKeyId: s3AccessKeyId.reveal(),
    secretAccessKey: s3SecretAccessKey.reveal(),
    pathStyle: s3PathStyle,
  })
}

/**
 * Blobs on any server that speaks the S3 API. Nothing is contacted before the first use. Put, get and delete leave the same
 * state however often they arrive, so each is tried again when the storage fails, throttles or stays silent.
 *
 * Its requests do not go through the egress guard: the operator sets the address, a tenant cannot, and storage usually
 * stands in a private network.
 */
export function createS3Blobs(options: S3Options): S3Blobs {
  const { accessKeyId, secretAccessKey, region } = options
  const aws = new AwsClient({ accessKeyId, secretAccessKey, region, service: 's3' })
  const base = s3BaseUrl(options)
  const urlOf = (key: string) => `${base}/${key.split('/').map(encodeURIComponent).join('/')}`

  /** One attempt, its answer read whole. */
  async function send(request: S3Request, timeoutMs: number): Promise<S3Answer> {
    const { method, key, body, sha256 = emptySha256, mediaType } = request
    const signed = await aws.sign(urlOf(key), {
      method,
      headers: {
        // Signed, so that neither the bytes nor their type can be changed on the way.
        'x-amz-content-sha256': sha256,
        ...(mediaType !== undefined && { 'content-type': mediaType }),
      },
      ...(body && { body }),
      // A redirect leads to another region, for which the signature does not hold.
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
      aws: { allHeaders: true },
    })
    const response = await fetch(signed)
    const bytes = new Uint8Array(await response.arrayBuffer())
    return { status: response.status, bytes, retryAfter: response.headers.get('retry-after') }
  }

  async function ask(request: S3Request): Promise<S3Answer> {
    for (let attempt = 1; ; attempt++) {
      let answer: S3Answer | null = null
      let failure: unknown = null
      try {
        answer = await send(request, options.attemptMs ?? attemptMs)
        if (!isPassing(answer)) return answer
      } catch (error) {
        failure = error
      }
      if (attempt === attempts) throw away(request, failure ?? refusalOf(answer!))
      const longest = Math.min(maxPauseMs, (options.pauseMs ?? pauseMs) * 4 ** (attempt - 1))
      const asked = Number(answer?.retryAfter ?? 0) * 1_000 || 0
      await pause(Math.max(Math.random() * longest, Math.min(maxPauseMs, asked)))
    }
  }

  return {
    async put(key, bytes, { mediaType = 'application/octet-stream' } = {}) {
      checkBlobKey(key)
      // Safe: nothing here shares memory between threads.
      const body = bytes as Uint8Array<ArrayBuffer>
      const request: S3Request = { method: 'PUT', key, body, sha256: await sha256Of(body), mediaType }
      const answer = await ask(request)
      if (!isOk(answer)) throw refused(request, answer)
    },
    async get(key) {
      const request: S3Request = { method: 'GET', key: checkBlobKey(key) }
      const answer = await ask(request)
      if (isOk(answer)) return answer.bytes
      if (isMissing(answer)) return null
      throw refused(request, answer)
    },
    async delete(key) {
      const request: S3Request = { method: 'DELETE', key: checkBlobKey(key) }
      const answer = await ask(request)
      if (!isOk(answer) && !isMissing(answer)) throw refused(request, answer)
    },
    async probe() {
      const answer = await send({ method: 'GET', key: 'health' }, probeMs).catch(() => null)
      if (answer && (isOk(answer) || isMissing(answer))) return { status: 'healthy' }
      // It serves on: only what needs files fails.
      return { status: 'degraded', detail: answer ? refusalOf(answer).message : 'The S3 storage does not answer.' }
    },
  }
}

interface S3Request {
  method: 'PUT' | 'GET' | 'DELETE'
  key: string
  body?: Uint8Array<ArrayBuffer>
  sha256?: string
  mediaType?: string
}
interface S3Answer {
  status: number
  bytes: Uint8Array
  retryAfter: string | null
}

/** Where the bucket is: `https://host/bucket`, or `https://bucket.host`. */
export function s3BaseUrl({
  endpoint,
  bucket,
  pathStyle,
}: Pick<S3Options, 'endpoint' | 'bucket' | 'pathStyle'>): string {
  const url = new URL(endpoint)
  const path = url.pathname.replace(/\/+$/, '')
  return pathStyle ? `${url.origin}${path}/${bucket}` : `${url.protocol}//${bucket}.${url.host}${path}`
}

const isOk = ({ status }: S3Answer) => status >= 200 && status < 300
/** A bucket that is missing is a fault of the configuration, not a blob that is not there. */
const isMissing = (answer: S3Answer) => answer.status === 404 && codeOf(answer) !== 'NoSuchBucket'

/** Codes of S3 that ask for another try, besides the statuses that say so. */
const passingCodes = new Set(['RequestTimeout', 'OperationAborted', 'SlowDown', 'Throttling', 'ThrottlingException'])
const passingStatuses = new Set([429, 500, 502, 503, 504])
const isPassing = (answer: S3Answer) =>
  passingStatuses.has(answer.status) || (answer.status >= 400 && passingCodes.has(codeOf(answer) ?? ''))

/** S3 names its errors in XML: `<Error><Code>NoSuchKey</Code>…`. */
const codeOf = ({ bytes }: S3Answer): string | undefined =>
  /<Code>(\w{1,64})<\/Code>/.exec(new TextDecoder().decode(bytes.subarray(0, 4_096)))?.[1]

const advice: Record<string, string> = {
  AccessDenied:
    'the key may not do this (reading needs s3:ListBucket too, or what is missing is answered as forbidden)',
  InvalidAccessKeyId: 'S3_ACCESS_KEY_ID is unknown there',
  NoSuchBucket: 'S3_BUCKET does not exist there',
  PermanentRedirect: 'the bucket is in another region; correct S3_ENDPOINT or S3_REGION',
  AuthorizationHeaderMalformed: 'S3_REGION is another than the bucket has',
  RequestTimeTooSkewed: "this machine's clock is wrong",
  SignatureDoesNotMatch: 'S3_SECRET_ACCESS_KEY is wrong',
}
function refusalOf(answer: S3Answer): Error {
  const code = codeOf(answer)
  const hint = code === undefined ? undefined : advice[code]
  return new Error(`The S3 storage answered ${answer.status}${code ? ` ${code}` : ''}${hint ? `: ${hint}` : ''}.`)
}

// The key stays out of what a caller sees, and the reason is the operator's to read in the log.
const away = ({ method, key }: S3Request, cause: unknown) =>
  new AppError('unavailable', 'The file storage does not answer. Try again shortly.', {
    headers: { 'retry-after': '5' },
    cause: new Error(`${method} ${key} failed ${attempts} times.`, { cause }),
  })
const refused = ({ method, key }: S3Request, answer: S3Answer) =>
  new AppError('unavailable', 'The file storage refused the request.', {
    cause: new Error(`${method} ${key}: ${refusalOf(answer).message}`),
  })

const emptySha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
const sha256Of = async (bytes: Uint8Array<ArrayBuffer>) =>
  toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
