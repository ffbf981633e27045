import type { Kysely } from 'kysely'
import type { Config } from '../../config.ts'
import type { Actor } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import { rangesCover } from '../../lib/net/ranges.ts'
import { keyOfSession } from '../identity/verify-key.ts'
import type { ApiKeyRow, KeyLimits } from './api-key.ts'

/** How far a maker reaches, in every dimension but permissions (`scopesFor`). No key that it makes or changes reaches farther. */
export interface Bounds {
  /** Null = for ever. */
  expiresAt: Date | null
  /** Empty = from anywhere. */
  allowedIps: readonly string[]
  /** Requests a minute that a key may be given; null = any number. */
  rateLimit: number | null
  /** What a key gets that asks for no limit of its own; null = the default of the installation. */
  ownRateLimit: number | null
  /** Requests a minute of a key without a limit of its own. */
  defaultRate: number
}

/** The key with which somebody acts: a key itself, or the one of a person. */
export const keyOf = ({ kind, id, sessionId }: Actor): string | null =>
  kind === 'key' ? id : keyOfSession(sessionId ?? '')

/** `locked`: a key which is being revoked makes none behind its own end. */
export async function boundsOf(
  db: Kysely<Database>,
  { actor, config }: { actor: Actor; config: Pick<Config, 'rateLimitAuthenticated'> },
  { locked = false } = {},
): Promise<Bounds> {
  const { limit, windowSeconds } = config.rateLimitAuthenticated
  const defaultRate = Math.max(1, Math.floor((limit * 60) / windowSeconds))
  const keyId = keyOf(actor)
  const key =
    keyId === null
      ? null
      : await db
          .selectFrom('api_keys')
          .select(['expires_at', 'allowed_ips', 'rate_limit', 'revoked_at'])
          .where('workspace_id', '=', actor.workspaceId)
          .where('id', '=', keyId)
          .$if(locked, (query) => query.forShare())
          .executeTakeFirst()
  if (key === undefined || key?.revoked_at) throw new AppError('unauthenticated', 'The key that asks is revoked.')
  const ownRateLimit = key?.rate_limit ?? null
  return {
    expiresAt: key?.expires_at ?? null,
    allowedIps: key?.allowed_ips ?? [],
    // More than the default is for the operator to give, or for who has as much.
    rateLimit: ownRateLimit ?? (actor.permissions.has('system:manage') ? null : defaultRate),
    ownRateLimit,
    defaultRate,
  }
}

/** What another key spends is not what the maker's spends, so a bound on that would bound nothing. */
export async function requireNoBudget(db: Kysely<Database>, actor: Actor): Promise<void> {
  const budget = await db
    .selectFrom('budgets')
    .select('id')
    .where('workspace_id', '=', actor.workspaceId)
    .where('scope_id', '=', keyOf(actor))
    .executeTakeFirst()
  if (budget) throw new AppError('forbidden', 'A key with a budget of its own gets no other key that has none.')
}

/** What is not asked for is what the maker has. */
export const withDefaults = (limits: KeyLimits, bounds: Bounds) => ({
  expiresAt: limits.expiresAt === undefined ? bounds.expiresAt : limits.expiresAt,
  rateLimit: limits.rateLimit === undefined ? bounds.ownRateLimit : limits.rateLimit,
  allowedIps: limits.allowedIps ?? [...bounds.allowedIps],
  allowedDomains: limits.allowedDomains ?? [],
})

/**
 * Where limits reach farther than those who set them. `current` are those that a key has already: what reaches no farther than
 * they do is no gain.
 */
export function excessOf(limits: KeyLimits, bounds: Bounds, current?: ApiKeyRow): Fault[] {
  const faults: Fault[] = []
  const { expiresAt, rateLimit, allowedIps } = limits
  const isLater = (end: Date | null) =>
    expiresAt !== undefined && end !== null && (expiresAt === null || expiresAt > end)
  if (isLater(bounds.expiresAt) && (!current || isLater(current.expires_at))) {
    faults.push({ pointer: '/expires_at', detail: `must not be after ${bounds.expiresAt!.toISOString()}` })
  }
  const isFaster = (most: number | null) =>
    rateLimit !== undefined && most !== null && (rateLimit ?? bounds.defaultRate) > most
  if (isFaster(bounds.rateLimit) && (!current || isFaster(current.rate_limit ?? bounds.defaultRate))) {
    faults.push({ pointer: '/rate_limit', detail: `must not be above ${bounds.rateLimit}` })
  }
  const isWider = (ranges: readonly string[]) =>
    allowedIps !== undefined &&
    ranges.length > 0 &&
    (allowedIps.length === 0 || !allowedIps.every((range) => rangesCover(ranges, range)))
  if (isWider(bounds.allowedIps) && (!current || isWider(current.allowed_ips))) {
    faults.push({ pointer: '/allowed_ips', detail: `must lie within ${bounds.allowedIps.join(', ')}` })
  }
  return faults
}

export function requireWithin(faults: Fault[]): void {
  if (faults.length === 0) return
  const detail = faults.map((fault) => `${fault.pointer.slice(1)} ${fault.detail}`).join('; ')
  throw new AppError('forbidden', `A key cannot reach farther than its maker: ${detail}.`, { errors: faults })
}
