import { sql, type Kysely, type Selectable, type Transaction } from 'kysely'
import type { Actor, ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import type { ApiKeysTable } from '../../db/tables/identity.table.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import { entityTag } from '../../lib/etag.ts'
import { isUuid } from '../../lib/ids.ts'
import { formatHostPattern, parseHostPattern } from '../../lib/net/host-pattern.ts'
import { parseRange } from '../../lib/net/ranges.ts'
import { requirePermission } from '../../lib/require-permission.ts'
import type { KeyKind } from '../identity/key-format.ts'
import { readStanding, requireNoStronger } from '../team/standing.ts'
import { lockCurrent } from '../workspaces/current.ts'

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
  rotated_at: string | null
  previous_valid_until: string | null
  last_used_at: string | null
  revoked_at: string | null
  created_by: string | null
  created_at: string
}

export type ApiKeyRow = Selectable<ApiKeysTable>

/** What of a key its maker may choose besides its name and scopes. */
export interface KeyLimits {
  expiresAt?: Date | null | undefined
  rateLimit?: number | null | undefined
  allowedDomains?: string[] | undefined
  /** Addresses and CIDR ranges; none = from anywhere. */
  allowedIps?: string[] | undefined
}

/** The same in the spelling in which it is stored. Throws with every fault at once. */
export async function readLimits(db: Kysely<Database>, kind: KeyKind, input: KeyLimits): Promise<KeyLimits> {
  const faults: Fault[] = []
  const domains = input.allowedDomains?.map((text, index) => {
    const pattern = parseHostPattern(text)
    if (!pattern) faults.push({ pointer: `/allowed_domains/${index}`, detail: 'must be a host, host:port or *.suffix' })
    return pattern ? formatHostPattern(pattern) : text
  })
  const ranges = input.allowedIps?.map((text, index) => {
    const range = parseRange(text)
    if (range === null) faults.push({ pointer: `/allowed_ips/${index}`, detail: 'must be an address or a CIDR range' })
    return range ?? text
  })
  if (kind === 'server' && domains !== undefined && domains.length > 0) {
    faults.push({ pointer: '/allowed_domains', detail: 'applies to widget keys only' })
  }
  if (input.expiresAt && !(await isFuture(db, input.expiresAt))) {
    faults.push({ pointer: '/expires_at', detail: 'must be in the future' })
  }
  if (faults.length > 0) throw new AppError('invalid', 'The API key cannot be like this.', { errors: faults })
  return { ...input, allowedDomains: domains, allowedIps: ranges && [...new Set(ranges)] }
}

async function isFuture(db: Kysely<Database>, time: Date): Promise<boolean> {
  const { rows } = await sql<{
    future: boolean
  }>`select ${time.toISOString()}::timestamptz > app_now() as future`.execute(db)
  return rows[0]?.future === true
}

type Finder = Pick<ServiceContext, 'db' | 'actor'>

const queryOf = ({ db, actor }: Finder, id: string) =>
  db.selectFrom('api_keys').selectAll().where('workspace_id', '=', actor.workspaceId).where('id', '=', id)

export async function findApiKey(finder: Finder, id: string): Promise<ApiKeyRow> {
  const row = isUuid(id) ? await queryOf(finder, id).executeTakeFirst() : undefined
  if (!row) throw missing(id)
  return row
}

/**
 * A key until the commit, behind its workspace, in which order whoever changes a team or ends a key locks them. `own`: a person
 * needs no permission for the key that is theirs.
 */
export async function lockApiKey(
  db: Transaction<Database>,
  { actor }: Pick<ServiceContext, 'actor'>,
  id: string,
  { own = false } = {},
): Promise<{ row: ApiKeyRow; isOperator: boolean }> {
  const { is_operator: isOperator } = await lockCurrent(db, { actor })
  const row = isUuid(id) ? await queryOf({ db, actor }, id).forUpdate().executeTakeFirst() : undefined
  if (!own || !row || !isOwn(actor, row)) requirePermission({ actor }, 'api-keys:manage')
  if (!row) throw missing(id)
  return { row, isOperator }
}

const missing = (id: string) => new AppError('not-found', `The API key ${id} does not exist.`)

export const isOwn = ({ kind, id }: Actor, { user_id }: ApiKeyRow): boolean => kind === 'user' && id === user_id

/** Who shuts out a person, or narrows how one comes in, holds what that person holds, as who changes a member does. */
export async function requireReachable(db: Kysely<Database>, actor: Actor, row: ApiKeyRow): Promise<void> {
  if (row.user_id === null || isOwn(actor, row)) return
  const member = await db
    .selectFrom('memberships')
    .select('role')
    .where('workspace_id', '=', row.workspace_id)
    .where('user_id', '=', row.user_id)
    .executeTakeFirst()
  if (!member) return
  const standing = await readStanding(db, row.workspace_id)
  requireNoStronger(actor, standing.permissionsOf(member.role) ?? [], 'The person whose key this is')
}

/** An end is for good: the room that the key had may be another's by now. */
export async function requireUsable(db: Kysely<Database>, { id, revoked_at, expires_at }: ApiKeyRow): Promise<void> {
  if (revoked_at === null && (expires_at === null || (await isFuture(db, expires_at)))) return
  throw new AppError('conflict', `The API key ${id} is revoked or expired.`)
}

export const apiKeyTag = ({ last_used_at, ...key }: ApiKey): string => entityTag(key, last_used_at)

export function toApiKey(row: ApiKeyRow): ApiKey {
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
    rotated_at: row.rotated_at?.toISOString() ?? null,
    previous_valid_until: row.previous_valid_until?.toISOString() ?? null,
    last_used_at: row.last_used_at?.toISOString() ?? null,
    revoked_at: row.revoked_at?.toISOString() ?? null,
    created_by: row.created_by,
    created_at: row.created_at.toISOString(),
  }
}
