import { sql, type Selectable } from 'kysely'
import type { ServiceContext } from '../context.ts'
import { jsonb } from '../db/json.ts'
import { newestFirst } from '../db/keyset.ts'
import type { ApiKeysTable } from '../db/tables/identity.table.ts'
import { AppError, type Fault } from '../lib/errors.ts'
import { entityTag, requireMatch } from '../lib/etag.ts'
import { isUuid, uuidv7 } from '../lib/ids.ts'
import { formatHostPattern, parseHostPattern } from '../lib/net/host-pattern.ts'
import { parseRange } from '../lib/net/ranges.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../lib/pagination.ts'
import type { Permission, Role } from '../lib/permissions.ts'
import { callerCacheOf } from './identity/caller-cache.ts'
import { formatKey, hashKey, keyPrefix, type KeyKind } from './identity/key-format.ts'
import { scopesFor } from './identity/key-scopes.ts'

export interface ApiKey {
  id: string
  name: string
  kind: KeyKind
  prefix: string
  scopes: string[]
  rate_limit: number | null
  allowed_domains: string[]
  allowed_ips: string[]
  expires_at: string | null
  last_used_at: string | null
  revoked_at: string | null
  created_by: string | null
  created_at: string
}

export interface NewApiKey {
  name: string
  kind: KeyKind
  scopes: readonly Permission[] | Role
  expiresAt?: Date
  rateLimit?: number
  allowedDomains?: string[]
  /** Addresses and CIDR ranges; none = from anywhere. */
  allowedIps?: string[]
}

type Context = Pick<ServiceContext, 'db' | 'actor'>

/** The answer holds the key itself, this once: only its hash is stored. */
export async function createApiKey(
  { db, actor, random }: Context & Pick<ServiceContext, 'random'>,
  input: NewApiKey,
): Promise<ApiKey & { key: string }> {
  const scopes = scopesFor(actor, input.kind, input.scopes)
  const faults: Fault[] = []
  const domains = (input.allowedDomains ?? []).map((text, index) => {
    const pattern = parseHostPattern(text)
    if (!pattern) faults.push({ pointer: `/allowed_domains/${index}`, detail: 'must be a host, host:port or *.suffix' })
    return pattern ? formatHostPattern(pattern) : text
  })
  const ranges = (input.allowedIps ?? []).map((text, index) => {
    const range = parseRange(text)
    if (range === null) faults.push({ pointer: `/allowed_ips/${index}`, detail: 'must be an address or a CIDR range' })
    return range ?? text
  })
  if (input.kind === 'server' && domains.length > 0) {
    faults.push({ pointer: '/allowed_domains', detail: 'applies to widget keys only' })
  }
  if (input.expiresAt && !(await isFuture(db, input.expiresAt))) {
    faults.push({ pointer: '/expires_at', detail: 'must be in the future' })
  }
  if (faults.length > 0) throw new AppError('invalid', 'The API key cannot be made like this.', { errors: faults })

  const key = formatKey(input.kind, random(32))
  const row = await db
    .insertInto('api_keys')
    .values({
      id: uuidv7(),
      workspace_id: actor.workspaceId,
      name: input.name,
      kind: input.kind,
      prefix: keyPrefix(key),
      hash: await hashKey(key),
      scopes: jsonb(scopes),
      rate_limit: input.rateLimit ?? null,
      allowed_domains: jsonb(domains),
      allowed_ips: jsonb([...new Set(ranges)]),
      expires_at: input.expiresAt ?? null,
      created_by: `${actor.kind}:${actor.id}`,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  return { ...toApiKey(row), key }
}

/** Revoked and expired keys too: what they did must stay attributable. */
export async function listApiKeys({ db, actor }: Context, page: PageRequest): Promise<Page<ApiKey>> {
  const query = db.selectFrom('api_keys').selectAll().where('workspace_id', '=', actor.workspaceId)
  const rows = await newestFirst(query, page).execute()
  return toPage(rows, page.limit, byCreation, toApiKey)
}

export async function getApiKey({ db, actor }: Context, id: string): Promise<ApiKey> {
  const row = isUuid(id)
    ? await db
        .selectFrom('api_keys')
        .selectAll()
        .where('workspace_id', '=', actor.workspaceId)
        .where('id', '=', id)
        .executeTakeFirst()
    : undefined
  if (!row) throw missing(id)
  return toApiKey(row)
}

/** Takes effect in this process before it returns, elsewhere within the seconds that a verified key is remembered. Revoking twice keeps the first time. */
export async function revokeApiKey(ctx: ServiceContext, id: string, ifMatch: string | null = null): Promise<void> {
  if (!isUuid(id)) throw missing(id)
  const key = await ctx.db.transaction().execute(async (tx) => {
    const row = await tx
      .selectFrom('api_keys')
      .selectAll()
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('id', '=', id)
      .forUpdate()
      .executeTakeFirst()
    if (!row) throw missing(id)
    requireMatch(ifMatch, apiKeyTag(toApiKey(row)))
    await tx
      .updateTable('api_keys')
      .set({ revoked_at: sql<Date>`coalesce(revoked_at, app_now())` })
      .where('id', '=', row.id)
      .execute()
    return row
  })
  callerCacheOf(ctx).forget(key.id)
}

export const apiKeyTag = ({ last_used_at, ...key }: ApiKey): string => entityTag(key, last_used_at)

async function isFuture(db: Context['db'], time: Date): Promise<boolean> {
  const { rows } = await sql<{
    future: boolean
  }>`select ${time.toISOString()}::timestamptz > app_now() as future`.execute(db)
  return rows[0]?.future === true
}

const missing = (id: string) => new AppError('not-found', `The API key ${id} does not exist.`)

function toApiKey(row: Selectable<ApiKeysTable>): ApiKey {
  return {
    id: row.id,
    name: row.name,
    kind: row.kind,
    prefix: row.prefix,
    scopes: row.scopes,
    rate_limit: row.rate_limit,
    allowed_domains: row.allowed_domains,
    allowed_ips: row.allowed_ips,
    expires_at: row.expires_at?.toISOString() ?? null,
    last_used_at: row.last_used_at?.toISOString() ?? null,
    revoked_at: row.revoked_at?.toISOString() ?? null,
    created_by: row.created_by,
    created_at: row.created_at.toISOString(),
  }
}
