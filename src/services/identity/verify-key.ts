import { sql } from 'kysely'
import type { Actor, Runtime } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { isPermission } from '../../lib/permissions.ts'
import { cacheMs, keyCacheOf } from './key-cache.ts'
import { hashKey, keyKind, type KeyKind } from './key-format.ts'

export interface VerifiedKey {
  keyId: string
  kind: KeyKind
  actor: Actor
  /** Requests a minute; null = the default. */
  rateLimit: number | null
  allowedDomains: string[]
}

/**
 * Who a key is. Answers without a promise while the key is cached, which keeps the hot path synchronous.
 * Throws `unauthenticated` for a malformed, unknown, revoked or expired key, always in the same words.
 */
export function verifyApiKey(runtime: Runtime, token: string): VerifiedKey | Promise<VerifiedKey> {
  if (keyKind(token) === null) throw refused()
  return keyCacheOf(runtime).get(token, runtime.clock.monotonicMs()) ?? lookUp(runtime, token)
}

async function lookUp(runtime: Runtime, token: string): Promise<VerifiedKey> {
  const cache = keyCacheOf(runtime)
  const generation = cache.generation()
  const startedMs = runtime.clock.monotonicMs()
  const row = await runtime.db
    .selectFrom('api_keys')
    .select(['id', 'workspace_id', 'kind', 'scopes', 'rate_limit', 'allowed_domains'])
    // The database decides about time: this process only counts down what it was told.
    .select(sql<number | null>`(extract(epoch from expires_at - app_now()) * 1000)::float8`.as('expires_in_ms'))
    .select(sql<boolean>`last_used_at is null or last_used_at < app_now() - interval '1 minute'`.as('use_unrecorded'))
    .where('hash', '=', await hashKey(token))
    .where('revoked_at', 'is', null)
    .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', sql<Date>`app_now()`)]))
    .executeTakeFirst()
  if (!row) throw refused()

  const key: VerifiedKey = {
    keyId: row.id,
    kind: row.kind,
    actor: {
      kind: 'key',
      id: row.id,
      workspaceId: row.workspace_id,
      // A widget key stands in public pages: whatever its row says, it holds no server permission.
      permissions: new Set(row.kind === 'widget' ? [] : row.scopes.filter(isPermission)),
    },
    rateLimit: row.rate_limit,
    allowedDomains: row.allowed_domains,
  }
  cache.put(token, key, startedMs + Math.min(cacheMs, row.expires_in_ms ?? cacheMs), generation)
  if (row.use_unrecorded) runtime.defer(recordUse(runtime, row.id))
  return key
}

/** At most one write a minute and key, however many processes see it. */
async function recordUse({ db }: Pick<Runtime, 'db'>, id: string): Promise<void> {
  await db
    .updateTable('api_keys')
    .set({ last_used_at: sql<Date>`app_now()` })
    .where('id', '=', id)
    .where((where) =>
      where.or([
        where('last_used_at', 'is', null),
        where('last_used_at', '<', sql<Date>`app_now() - interval '1 minute'`),
      ]),
    )
    .execute()
}

const refused = () => new AppError('unauthenticated', 'The API key is not valid: it is unknown, revoked or expired.')
