import { sql, type Kysely, type Transaction } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { Json } from '../../lib/json.ts'
import { addressHash, bodyHash, changeHash, linkedInSql } from './chain.ts'
import { masked } from './mask.ts'

export { changesOf } from './mask.ts'

export type AuditContext = Pick<ServiceContext, 'actor' | 'requestId' | 'client'>

export interface AuditEntry {
  /** `resource.verb_past`: `api_key.created`. */
  action: string
  target: { type: string; id: string }
  /** Secrets are masked and sizes bounded here; of a change `changesOf` leaves what differs. */
  before?: Json | object
  after?: Json | object
  /** Where the act is another workspace's than the actor's. */
  workspaceId?: string
}

/** As the database gives it back: what is hashed is what is stored. It takes no NUL, and half a pair of surrogates is no text. */
const plain = <T extends string | null>(text: T): T =>
  text === null ? text : (text.replaceAll('\0', '').replace(/\p{Surrogate}/gu, '\ufffd') as T)

/**
 * Writes an act into the log of its workspace, in the transaction of the act itself: neither is there without the other.
 * From here to the commit it holds the head of the workspace's chain, so it stands last in its transaction: whoever takes
 * further locks behind it makes other acts wait, and may wait for one of them.
 */
export async function recordAudit(
  db: Kysely<Database> | Transaction<Database>,
  { actor, requestId, client }: AuditContext,
  entry: AuditEntry,
): Promise<void> {
  const [before, after, address] = [masked(entry.before), masked(entry.after), plain(client?.address ?? null)]
  const [changeNonce, addressNonce] = [crypto.randomUUID(), crypto.randomUUID()]
  const row = {
    workspace_id: entry.workspaceId ?? actor.workspaceId,
    id: uuidv7(),
    actor_kind: actor.kind,
    actor_id: plain(actor.id),
    action: plain(entry.action),
    target_type: plain(entry.target.type),
    target_id: plain(entry.target.id.slice(0, 500)),
    request_id: plain(requestId ?? null),
    change_hash: changeHash(changeNonce, before, after),
    address_hash: addressHash(addressNonce, address),
  }
  const body = bodyHash(row)
  const now = sql`app_now()::timestamptz(3)`
  const later = sql`greatest(h.at, excluded.at)`
  const json = (value: Json) => (value === null ? sql`null::jsonb` : jsonb(value))
  await sql`
    with head as (
      insert into audit_heads as h (workspace_id, seq, prev_hash, hash, at)
      values (${row.workspace_id}::text::uuid, 1, '', ${linkedInSql(sql`''`, sql`1`, now, body)}, ${now})
      on conflict (workspace_id) do update set seq = h.seq + 1, prev_hash = h.hash, at = ${later},
        hash = ${linkedInSql(sql`h.hash`, sql`(h.seq + 1)`, later, body)}
      returning seq, prev_hash, hash, at
    )
    insert into audit_logs (workspace_id, seq, id, actor_kind, actor_id, action, target_type, target_id, request_id,
      before, after, client_address, change_nonce, change_hash, address_nonce, address_hash, created_at, prev_hash, hash)
    select ${row.workspace_id}::text::uuid, seq, ${row.id}::text::uuid, ${row.actor_kind}::text, ${row.actor_id}::text,
      ${row.action}::text, ${row.target_type}::text, ${row.target_id}::text, ${row.request_id}::text,
      ${json(before)}, ${json(after)}, ${address}::text, ${changeNonce}::text, ${row.change_hash}::text,
      ${addressNonce}::text, ${row.address_hash}::text, at, prev_hash, hash
    from head`.execute(db)
}
