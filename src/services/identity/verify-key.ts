import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { rangesHold } from '../../lib/net/ranges.ts'
import { isPermission } from '../../lib/permissions.ts'
import { cacheMs, callerCacheOf } from './caller-cache.ts'
import type { Caller } from './caller.ts'
import { hashKey, keyKind } from './key-format.ts'

/**
 * Who a key is. Answers without a promise while the key is cached, which keeps the hot path synchronous.
 * Throws `unauthenticated` for a malformed, unknown, revoked or expired key, always in the same words.
 */
export function verifyApiKey(runtime: Runtime, token: string): Caller | Promise<Caller> {
  const known = callerCacheOf(runtime).get(token, runtime.clock.monotonicMs())
  if (known !== undefined) return known
  if (keyKind(token) === null) throw refused()
  return lookUp(runtime, token, 'hash')
}

/** The same by a key's id, for what a key has signed. */
export function verifyApiKeyId(runtime: Runtime, id: string): Caller | Promise<Caller> {
  // No credential begins with a space, so none that is sent can name this entry.
  const credential = ` key ${id}`
  return (
    callerCacheOf(runtime).get(credential, runtime.clock.monotonicMs()) ??
    lookUp(runtime, credential, 'api_keys.id', id)
  )
}

async function lookUp(runtime: Runtime, credential: string, by: 'hash' | 'api_keys.id', id?: string): Promise<Caller> {
  const cache = callerCacheOf(runtime)
  const generation = cache.generation()
  const startedMs = runtime.clock.monotonicMs()
  const row = await runtime.db
    .selectFrom('api_keys')
    .innerJoin('workspaces', 'workspaces.id', 'api_keys.workspace_id')
    .select(['api_keys.id', 'workspace_id', 'slug', 'kind', 'scopes', 'rate_limit', 'allowed_domains', 'allowed_ips'])
    // The database decides about time: this process only counts down what it was told.
    .select(sql<number | null>`(extract(epoch from expires_at - app_now()) * 1000)::float8`.as('expires_in_ms'))
    .select(sql<boolean>`last_used_at is null or last_used_at < app_now() - interval '1 minute'`.as('use_unrecorded'))
    .where(by, '=', id ?? (await hashKey(credential)))
    .where('revoked_at', 'is', null)
    .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', sql<Date>`app_now()`)]))
    .executeTakeFirst()
  if (!row) throw refused()

  const caller: Caller = {
    kind: row.kind,
    id: row.id,
    actor: {
      kind: 'key',
      id: row.id,
      workspaceId: row.workspace_id,
      // A widget key stands in public pages: whatever its row says, it holds no server permission.
      permissions: new Set(row.kind === 'widget' ? [] : row.scopes.filter(isPermission)),
    },
    workspaceSlug: row.slug,
    budget: `key:${row.id}`,
    rateLimit: row.rate_limit,
    allowedDomains: row.allowed_domains,
    allowsAddress: row.allowed_ips.length > 0 ? rangesHold(row.allowed_ips) : null,
  }
  cache.put(credential, caller, startedMs + Math.min(cacheMs, row.expires_in_ms ?? cacheMs), generation)
  if (row.use_unrecorded) runtime.defer(recordUse(runtime, row.id))
  return caller
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
