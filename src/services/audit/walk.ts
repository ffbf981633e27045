import type { Kysely } from 'kysely'
import type { Cipher } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { addressHash, bodyHash, changeHash, linkedHash } from './chain.ts'
import { auditRows, type AuditRow } from './read.ts'
import { isSigned, lastSeal } from './seals.ts'

const pageSize = 500

/** The first thing that is not as it was written. */
export interface Break {
  seq: number
  kind: 'missing' | 'changed' | 'unlinked' | 'checkpoint' | 'anchor' | 'head' | 'known'
  detail: string
}
export interface Link {
  seq: number
  hash: string
  at: Date
}
export interface Walked {
  /** How far the chain is whole. */
  reached: Link
  checked: number
  redacted: number
  /** The newest checkpoint on the way whose signature is good. */
  signedSeq: number
  broken: Break | null
}

/** Before the first entry. */
export const genesis: Link = { seq: 0, hash: '', at: new Date(0) }

/**
 * Follows a chain from behind `from` up to `to`, at most `limit` entries, a page at a time: each has the next number, names
 * the hash of the one before, hashes to its own, and is what a checkpoint on it has signed.
 */
export async function walkChain(
  { db, cipher }: { db: Kysely<Database>; cipher: Cipher },
  { workspaceId, from, to, limit }: { workspaceId: string; from: Link; to: number; limit: number },
): Promise<Walked> {
  const walked: Walked = { reached: from, checked: 0, redacted: 0, signedSeq: 0, broken: null }
  const last = Math.min(to, from.seq + limit)
  while (walked.reached.seq < last) {
    const until = Math.min(last, walked.reached.seq + pageSize)
    const rows = await auditRows(db, workspaceId)
      .where('seq', '>', walked.reached.seq)
      .where('seq', '<=', until)
      .orderBy('seq')
      .execute()
    const seals = await db
      .selectFrom('audit_seals')
      .selectAll()
      .where('workspace_id', '=', workspaceId)
      .where('kind', '=', 'checkpoint')
      .where('seq', '>', walked.reached.seq)
      .where('seq', '<=', until)
      .execute()
    const sealOf = new Map(seals.map((seal) => [Number(seal.seq), seal]))
    for (const row of rows) {
      walked.broken = breakIn(row, walked.reached)
      if (walked.broken?.kind === 'missing') break
      const seal = sealOf.get(Number(row.seq))
      if (!walked.broken && seal) {
        const holds =
          seal.hash === row.hash && seal.at.getTime() === row.created_at.getTime() && (await isSigned(cipher, seal))
        if (holds) walked.signedSeq = Number(row.seq)
        else
          walked.broken = {
            seq: Number(row.seq),
            kind: 'checkpoint',
            detail: 'It is not what its checkpoint has signed.',
          }
      }
      if (walked.broken) return walked
      walked.checked++
      if (row.change_nonce === null || row.address_nonce === null) walked.redacted++
      walked.reached = { seq: Number(row.seq), hash: row.hash, at: row.created_at }
    }
    if (walked.reached.seq >= until) continue
    // A retention may have passed by meanwhile: what is gone is gone with a signed anchor then.
    const anchor = await lastSeal(db, workspaceId, 'anchor')
    if (anchor && Number(anchor.seq) > walked.reached.seq && (await isSigned(cipher, anchor))) {
      walked.reached = { seq: Number(anchor.seq), hash: anchor.hash, at: anchor.at }
      walked.broken = null
      continue
    }
    const seq = walked.reached.seq + 1
    walked.broken = { seq, kind: 'missing', detail: `Entry ${seq} is not there.` }
    return walked
  }
  return walked
}

function breakIn(row: AuditRow, before: Link): Break | null {
  const seq = Number(row.seq)
  if (seq !== before.seq + 1)
    return { seq: before.seq + 1, kind: 'missing', detail: `Entry ${before.seq + 1} is not there.` }
  if (!isWhole(row)) return { seq, kind: 'changed', detail: 'It is not what was written.' }
  if (row.prev_hash !== before.hash) return { seq, kind: 'unlinked', detail: 'It does not follow the entry before it.' }
  return null
}

function isWhole(row: AuditRow): boolean {
  const change =
    row.change_nonce === null
      ? row.before === null && row.after === null
      : changeHash(row.change_nonce, row.before, row.after) === row.change_hash
  const address =
    row.address_nonce === null
      ? row.client_address === null
      : addressHash(row.address_nonce, row.client_address) === row.address_hash
  return change && address && linkedHash(row.prev_hash, Number(row.seq), row.created_at, bodyHash(row)) === row.hash
}
