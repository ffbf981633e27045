import { createLocalJWKSet, type CryptoKey, type JWTHeaderParameters } from 'jose'
import type { ComponentHealth, Runtime } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { issuersOf, type Issuer } from './issuers.ts'
import { readKeyDocument } from './key-document.ts'

// After this time the keys are read again, beside the requests that use them.
const freshMs = 10 * 60_000
// A key that the issuer has withdrawn is refused after this time at the latest, also while the issuer does not answer.
const usableMs = 60 * 60_000
// Anybody can write an unknown key id into a token, so it may not cost more than this.
const betweenSearchesMs = 60_000
const betweenFailuresMs = 10_000
// Somewhat longer than a read may take, because on Workers a read ends with the request that began it.
const patienceMs = 6_000

/** What a process knows of the keys of one issuer. */
interface KeySet {
  url: string
  find: ((header: JWTHeaderParameters) => Promise<CryptoKey>) | null
  /** On the monotonic clock, as are all times here. */
  readMs: number
  /** Whether another process has read them. */
  shared: boolean
  reading: Promise<void> | null
  beganMs: number
  searchedMs: number
  failedMs: number | null
  /** When the row of failures began, for `/health`. */
  failingSince: Date | null
}

// By the parsed configuration, which lives as long as the process or the isolate. Each issuer has its own: a key of one
// signs nothing for another, and a flood of unknown keys of one costs no other.
const keySets = new WeakMap<object, Map<Issuer, KeySet>>()

function keySetOf({ config }: Pick<Runtime, 'config'>, issuer: Issuer): KeySet {
  let sets = keySets.get(config)
  if (!sets) keySets.set(config, (sets = new Map()))
  let set = sets.get(issuer)
  if (!set) {
    const never = Number.NEGATIVE_INFINITY
    sets.set(
      issuer,
      (set = {
        url: issuer.jwksUrl,
        find: null,
        readMs: never,
        shared: false,
        reading: null,
        beganMs: never,
        searchedMs: never,
        failedMs: null,
        failingSince: null,
      }),
    )
  }
  return set
}

/**
 * The key that the header of a token names. Throws `unauthenticated` where the issuer has no such key, and `unavailable`
 * where it cannot be asked and what is known is too old or does not tell.
 */
export async function signingKey(runtime: Runtime, issuer: Issuer, header: JWTHeaderParameters): Promise<CryptoKey> {
  const set = keySetOf(runtime, issuer)
  const known = await findUsable(runtime, set, header)
  if (known !== null) {
    if (ageOf(runtime, set) > freshMs) refresh(runtime, set, freshMs)
    return known
  }
  await search(runtime, set)
  let found = await findUsable(runtime, set, header)
  if (found === null && set.shared) {
    // What another process has read may be older than the key.
    await search(runtime, set)
    found = await findUsable(runtime, set, header)
  }
  if (found !== null) return found
  if (set.failedMs !== null || !isUsable(runtime, set)) throw unreachable(runtime, set)
  throw new AppError('unauthenticated', 'The token is signed with a key that its issuer does not name.')
}

const ageOf = ({ clock }: Runtime, set: KeySet) => clock.monotonicMs() - set.readMs
const isUsable = (runtime: Runtime, set: KeySet) => set.find !== null && ageOf(runtime, set) <= usableMs

async function findUsable(runtime: Runtime, set: KeySet, header: JWTHeaderParameters): Promise<CryptoKey | null> {
  if (!isUsable(runtime, set)) return null
  try {
    return await set.find!(header)
  } catch {
    // None or several match, or the one that does is broken: none of them can be the key.
    return null
  }
}

/** Reads again where that may help and is not too soon. Waits for a read that is under way. */
async function search(runtime: Runtime, set: KeySet): Promise<void> {
  const nowMs = runtime.clock.monotonicMs()
  let maxAgeMs = freshMs
  if (isUsable(runtime, set)) {
    // Only what is newer than the keys that did not do is worth anything.
    maxAgeMs = Math.min(ageOf(runtime, set), betweenSearchesMs)
    if (!isReading(runtime, set) && set.failedMs === null) {
      if (nowMs - set.searchedMs < betweenSearchesMs) return
      set.searchedMs = nowMs
    }
  }
  const reading = refresh(runtime, set, maxAgeMs)
  if (reading !== null) await withPatience(reading)
}

const isReading = ({ clock }: Runtime, set: KeySet) =>
  set.reading !== null && clock.monotonicMs() - set.beganMs < patienceMs

/** The read that is under way, or a new one; null where the last one failed a moment ago. */
function refresh(runtime: Runtime, set: KeySet, maxAgeMs: number): Promise<void> | null {
  const nowMs = runtime.clock.monotonicMs()
  if (isReading(runtime, set)) return set.reading
  if (set.failedMs !== null && nowMs - set.failedMs < betweenFailuresMs) return null
  set.beganMs = nowMs
  const reading = read(runtime, set, maxAgeMs).finally(() => {
    if (set.reading === reading) set.reading = null
  })
  set.reading = reading
  // It serves others too, so it goes on when the request that began it has gone.
  runtime.defer(reading)
  return reading
}

async function read(runtime: Runtime, set: KeySet, maxAgeMs: number): Promise<void> {
  const { clock, log } = runtime
  try {
    const { keys, ageMs, shared } = await readKeyDocument(runtime, set.url, maxAgeMs)
    set.find = createLocalJWKSet(keys)
    set.readMs = clock.monotonicMs() - ageMs
    set.shared = shared
    set.failedMs = null
    set.failingSince = null
  } catch (error) {
    set.failedMs = clock.monotonicMs()
    set.failingSince ??= clock.now()
    log.warn('The keys of the identity provider could not be read', { url: set.url, error })
  }
}

async function withPatience(reading: Promise<void>): Promise<void> {
  let timer
  const enough = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, patienceMs)
  })
  await Promise.race([reading, enough])
  clearTimeout(timer)
}

function unreachable({ clock }: Runtime, { failedMs }: KeySet): AppError {
  const waitMs = failedMs === null ? 0 : failedMs + betweenFailuresMs - clock.monotonicMs()
  return new AppError('unavailable', 'The identity provider does not answer, so the token cannot be checked.', {
    headers: { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1000))) },
  })
}

/** How the identity providers do: as well as the one that does worst. */
export async function identityHealth(runtime: Runtime): Promise<ComponentHealth> {
  const issuers = issuersOf(runtime.config)
  const all = await Promise.all(issuers.map((issuer) => issuerHealth(runtime, issuer, issuers.length > 1)))
  const worst = (['unhealthy', 'degraded'] as const).find((level) => all.some(({ status }) => status === level))
  if (worst === undefined) return { status: 'healthy' }
  return { status: worst, detail: all.flatMap(({ detail }) => detail ?? []).join(' ') }
}

/** Reads the keys where nobody has asked for them yet, so that a wrong address shows before the first user does. */
async function issuerHealth(runtime: Runtime, issuer: Issuer, named: boolean): Promise<ComponentHealth> {
  const set = keySetOf(runtime, issuer)
  if (set.find === null) {
    const reading = refresh(runtime, set, freshMs)
    if (reading !== null) await withPatience(reading)
  }
  if (set.failingSince === null) return { status: 'healthy' }
  const name = named ? ` ${new URL(set.url).host}` : ''
  const since = `The identity provider${name} has not answered since ${set.failingSince.toISOString()}`
  return isUsable(runtime, set)
    ? { status: 'degraded', detail: `${since}; tokens are checked with the keys that are known.` }
    : { status: 'unhealthy', detail: `${since}; tokens cannot be checked.` }
}
