import { sql, type RawBuilder } from 'kysely'
import { canonicalJson, sha256Hex } from '../../lib/canonical.ts'
import type { Json } from '../../lib/json.ts'

export interface Body {
  workspace_id: string
  id: string
  actor_kind: string
  actor_id: string
  action: string
  target_type: string
  target_id: string
  request_id: string | null
  change_hash: string
  address_hash: string
}

/**
 * What stands in the chain for the parts of an entry that can be taken away later, for the sake of a person. The nonce goes
 * with the part: without it an address cannot be guessed out of its hash.
 */
export const changeHash = (nonce: string, before: Json, after: Json): string =>
  sha256Hex(canonicalJson([nonce, before, after]))
export const addressHash = (nonce: string, address: string | null): string => sha256Hex(canonicalJson([nonce, address]))

export const bodyHash = (b: Body): string =>
  sha256Hex(
    canonicalJson([
      'v1',
      b.workspace_id,
      b.id,
      b.actor_kind,
      b.actor_id,
      b.action,
      b.target_type,
      b.target_id,
      b.request_id,
      b.change_hash,
      b.address_hash,
    ]),
  )

/** What links an entry to the one before it. `linkedInSql` says the same to the database. */
export const linkedHash = (prevHash: string, seq: number, at: Date, body: string): string =>
  sha256Hex(`${prevHash}\n${seq}\n${at.getTime()}\n${body}`)

/** Computed by the statement that holds the head, so that no other entry can come between reading the head and moving it. */
export const linkedInSql = (
  prevHash: RawBuilder<unknown>,
  seq: RawBuilder<unknown>,
  at: RawBuilder<unknown>,
  body: string,
): RawBuilder<string> =>
  sql<string>`encode(sha256(convert_to(${prevHash} || E'\n' || ${seq} || E'\n'
    || (extract(epoch from ${at}) * 1000)::bigint || E'\n' || ${body}::text, 'UTF8')), 'hex')`
