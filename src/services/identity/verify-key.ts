import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { rangesHold } from '../../lib/net/ranges.ts'
import { permissionsIn, permissionsOf } from '../../lib/permissions.ts'
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
  return lookUp(runtime, token)
}

/** The same by a key's id, for what a key has signed. With `keyHash` only while the text is good with which it did. */
export function verifyApiKeyId(runtime: Runtime, id: string, keyHash = ''): Caller | Promise<Caller> {
  // No credential begins with a space, so none that is sent can name this entry.
  const credential = ` key ${id} ${keyHash}`
  const known = callerCacheOf(runtime).get(credential, runtime.clock.monotonicMs())
  return known ?? lookUp(runtime, credential, { id, keyHash })
}

async function lookUp(runtime: Runtime, credential: string, signed?: { id: string; keyHash: string }): Promise<Caller> {
  const cache = callerCacheOf(runtime)
  const generation = cache.generation()
  const startedMs = runtime.clock.monotonicMs()
  // What is compared is the hash of 256 random bits: how long that takes tells nobody how to come closer to a key.
  const hash = signed?.keyHash ?? (await hashKey(credential))
  const row = await runtime.db
    .selectFrom('api_keys as k')
    .innerJoin('workspaces as w', 'w.id', 'k.workspace_id')
    // The key of a person holds what its user holds now.
    .leftJoin('memberships as m', (join) =>
      join.onRef('m.user_id', '=', 'k.user_id').onRef('m.workspace_id', '=', 'k.workspace_id'),
    )
    .leftJoin('roles as r', (join) =>
      join.onRef('r.workspace_id', '=', 'm.workspace_id').onRef('r.slug', '=', 'm.role'),
    )
    .select(['k.id', 'k.workspace_id', 'k.user_id', 'w.slug', 'kind', 'scopes', 'rate_limit', 'allowed_domains'])
    .select(['allowed_ips', 'is_operator', 'm.role', 'r.permissions as custom'])
    .select(sql<boolean>`w.deleted_at is not null`.as('is_deleted'))
    // The database decides about time: this process only counts down what it was told.
    .select(
      sql<number | null>`(extract(epoch from least(expires_at,
        case when not starts_with(hash, ${hash}) then previous_valid_until end) - app_now()) * 1000)::float8`.as(
        'expires_in_ms',
      ),
    )
    .select(sql<boolean>`last_used_at is null or last_used_at < app_now() - interval '1 minute'`.as('use_unrecorded'))
    .where(
      signed
        ? sql<boolean>`k.id = ${signed.id} and (starts_with(hash, ${hash})
            or (starts_with(previous_hash, ${hash}) and previous_valid_until > app_now()))`
        : sql<boolean>`(hash = ${hash} or (previous_hash = ${hash} and previous_valid_until > app_now()))`,
    )
    .where('revoked_at', 'is', null)
    .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', sql<Date>`app_now()`)]))
    .executeTakeFirst()
  if (!row || (row.user_id !== null && row.role === null)) throw refused()

  const state = { isOperator: row.is_operator, isDeleted: row.is_deleted }
  const held =
    row.user_id === null ? permissionsIn(row.scopes, state) : permissionsOf(row.role!, { ...state, custom: row.custom })
  const caller: Caller = {
    kind: row.kind,
    id: row.id,
    actor: {
      ...(row.user_id === null
        ? { kind: 'key', id: row.id }
        : { kind: 'user', id: row.user_id, sessionId: sessionOfKey(row.id) }),
      workspaceId: row.workspace_id,
      keyHash: hash.slice(0, 16),
      // A widget key stands in public pages: whatever its row says, it holds no server permission.
      permissions: new Set(row.kind === 'widget' ? [] : held),
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

/** What a person does by key ends with that key, as what is done by token ends with its session. */
export const sessionOfKey = (id: string): string => ` key ${id}`
export const keyOfSession = (session: string): string | null => (session.startsWith(' key ') ? session.slice(5) : null)

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
