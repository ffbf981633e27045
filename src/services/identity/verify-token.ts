import { decodeProtectedHeader, errors, jwtVerify, type JWTPayload } from 'jose'
import type { Runtime } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { signingKey } from './key-set.ts'

// Asymmetric ones only: under HS256 the published key itself would be the secret.
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
/** How far the clocks of issuer and service may be apart. */
export const skewSeconds = 30
const maxLength = 8 * 1024
const maxClaimLength = 320

/** What a token says of its bearer, once it is verified. */
export interface TokenClaims {
  issuer: string
  subject: string
  issuedAtS: number
  expiresAtS: number
  /** Undefined = the token does not say. */
  email: string | undefined
  name: string | undefined
}

/**
 * Checks a JWT of the configured issuer. By the clock of this process: issuer and database may each be a little off, which
 * the skew covers. Throws `unauthenticated`, always in the same words, or `unavailable` where the keys cannot be had.
 */
export async function verifyToken(runtime: Runtime, token: string): Promise<TokenClaims> {
  const { config, clock, log } = runtime
  if (token.length > maxLength) throw invalidToken()
  try {
    checkHeader(token)
    const audience = config.authAudience ?? []
    const { payload } = await jwtVerify(token, (header) => signingKey(runtime, header), {
      algorithms,
      issuer: config.authIssuer!,
      ...(audience.length > 0 && { audience: [...audience] }),
      clockTolerance: skewSeconds,
      currentDate: clock.now(),
      requiredClaims: ['sub', 'iat', 'exp'],
    })
    return checkClaims(runtime, payload)
  } catch (error) {
    if (error instanceof AppError && error.kind !== 'unauthenticated') throw error
    // The reason helps whoever sets up an issuer; the token and what it claims stay out of the log.
    log.debug('A token was refused', { reason: reasonOf(error) })
    throw invalidToken()
  }
}

/** A token names its key by `kid` and brings none along, and nothing in its header asks to be understood. */
const forbidden = ['crit', 'jwk', 'jku', 'x5c', 'x5u']
// RFC 8725: a token that says that it is of another kind (a logout token, a DPoP proof) is not one for access.
const types = new Set(['jwt', 'at+jwt', 'application/at+jwt', 'application/jwt'])

function checkHeader(token: string): void {
  const header = decodeProtectedHeader(token)
  for (const name of forbidden) if (name in header) throw new Error(`its header holds ${name}`)
  if (header.typ !== undefined && !types.has(String(header.typ).toLowerCase())) throw new Error('its typ is another')
}

function checkClaims({ clock, config }: Runtime, payload: JWTPayload): TokenClaims {
  const { iss, sub, iat, exp, azp } = payload
  // PostgreSQL's text holds no NUL, and two lone surrogates would become one and the same character.
  if (typeof sub !== 'string' || sub === '' || sub.length > 255 || /[\p{Cc}\p{Cs}]/u.test(sub)) {
    throw new Error('its sub is no name')
  }
  if (!isTime(iat) || iat > clock.now().getTime() / 1000 + skewSeconds) throw new Error('its iat is not in the past')
  if (!isTime(exp)) throw new Error('its exp is no time')
  const parties = config.authAuthorizedParties ?? []
  if (parties.length > 0 && !parties.includes(String(azp))) throw new Error('its azp is another')
  // Clerk: signed up, but not through with what its instance demands.
  if (payload['sts'] === 'pending') throw new Error('its session is pending')
  return {
    issuer: iss!,
    subject: sub,
    issuedAtS: iat,
    expiresAtS: exp,
    email: textOf(payload['email']),
    name: textOf(payload['name']),
  }
}

// Up to the end of what the database can hold as a time.
const isTime = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value < 100_000_000_000

function textOf(claim: unknown): string | undefined {
  if (typeof claim !== 'string') return undefined
  return (
    claim
      .replace(/[\p{Cc}\p{Cs}]/gu, '')
      .trim()
      .slice(0, maxClaimLength)
      .replace(/\p{Cs}$/u, '') || undefined
  )
}

function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTClaimValidationFailed || error instanceof errors.JWTExpired) {
    return `${error.code} ${error.claim}`
  }
  if (error instanceof errors.JOSEError) return error.code
  return error instanceof Error ? error.message : 'unknown'
}

/** Whatever is wrong with it: more would help whoever tries. */
export const invalidToken = (): AppError =>
  new AppError(
    'unauthenticated',
    'The token is not valid: it is expired or revoked, not meant for this service, or not signed by the issuer that is trusted here.',
  )
