import { decodeJwt, decodeProtectedHeader, errors, jwtVerify, type JWTPayload } from 'jose'
import type { Runtime } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { isObject } from '../../lib/json.ts'
import { issuersOf, type Issuer } from './issuers.ts'
import { signingKey } from './key-set.ts'

// Asymmetric ones only: under HS256 the published key itself would be the secret.
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
/** How far the clocks of issuer and service may be apart. */
export const skewSeconds = 60
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
  /** The session at the issuer, where the token belongs to one. */
  sessionId?: string | undefined
  /** The organization in which its bearer acts, of an issuer that has them. */
  org?: OrgClaim | undefined
}

export interface OrgClaim {
  id: string
  role: string
  slug: string | undefined
}

/**
 * Checks a JWT of one of the configured issuers. By the clock of this process: issuer and database may each be a little off, which
 * the skew covers. Throws `unauthenticated`, always in the same words, or `unavailable` where the keys cannot be had.
 */
export async function verifyToken(runtime: Runtime, token: string): Promise<TokenClaims> {
  const { clock, log } = runtime
  if (token.length > maxLength) throw invalidToken()
  try {
    checkHeader(token)
    const issuer = issuerOf(runtime, token)
    const { audience } = issuer
    const { payload } = await jwtVerify(token, (header) => signingKey(runtime, issuer, header), {
      algorithms,
      issuer: issuer.issuer,
      ...(audience.length > 0 && { audience: [...audience] }),
      clockTolerance: skewSeconds,
      currentDate: clock.now(),
      requiredClaims: ['sub', 'iat', 'exp'],
    })
    return checkClaims(runtime, issuer, payload)
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

/** Whose keys may have signed it: what the token says before it is verified decides about nothing else. */
function issuerOf({ config }: Pick<Runtime, 'config'>, token: string): Issuer {
  const { iss } = decodeJwt(token)
  const issuer = issuersOf(config).find((candidate) => candidate.issuer === iss)
  if (!issuer) throw new Error('its iss is another')
  return issuer
}

function checkClaims({ clock }: Runtime, issuer: Issuer, payload: JWTPayload): TokenClaims {
  const { iss, sub, iat, exp, azp, sid } = payload
  if (!isName(sub)) throw new Error('its sub is no name')
  if (sid !== undefined && !isName(sid)) throw new Error('its sid is no name')
  if (!isTime(iat) || iat > clock.now().getTime() / 1000 + skewSeconds) throw new Error('its iat is not in the past')
  if (!isTime(exp)) throw new Error('its exp is no time')
  const parties = issuer.authorizedParties
  if (parties.length > 0 && !parties.includes(String(azp))) throw new Error('its azp is another')
  // Clerk: signed up, but not through with what its instance demands.
  if (payload['sts'] === 'pending') throw new Error('its session is pending')
  return {
    issuer: iss!,
    subject: sub,
    issuedAtS: iat,
    expiresAtS: exp,
    // An address that anybody may claim is nobody's: invitations go by it.
    email: payload['email_verified'] === false ? undefined : textOf(payload['email']),
    name: textOf(payload['name']),
    sessionId: sid,
    org: issuer.kind === 'clerk' ? orgOf(payload) : undefined,
  }
}

// PostgreSQL's text holds no NUL, and two lone surrogates would become one and the same character.
const isName = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= 255 && !/[\p{Cc}\p{Cs}]/u.test(value)

/** Clerk's active organization: `o` since version 2 of its tokens, `org_id`, `org_role` and `org_slug` before. */
function orgOf(payload: JWTPayload): OrgClaim | undefined {
  const { o } = payload
  const [id, role, slug] = isObject(o)
    ? [o['id'], o['rol'], o['slg']]
    : [payload['org_id'], payload['org_role'], payload['org_slug']]
  if (id === undefined || id === null) return undefined
  if (!isName(id) || !isName(role)) throw new Error('its organization is none')
  // Version 1 writes `org:admin` for what version 2 calls `admin`.
  return { id, role: role.replace(/^org:/, ''), slug: isName(slug) ? slug : undefined }
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
