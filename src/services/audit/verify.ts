import type { ServiceContext } from '../../context.ts'
import { auditRows } from './read.ts'
import { isSigned, lastSeal } from './seals.ts'
import { genesis, walkChain, type Break, type Link } from './walk.ts'

export interface Verification {
  valid: boolean
  /** Everything up to the head was looked at; else `next_from` goes on. */
  complete: boolean
  checked: number
  from_seq: number
  to_seq: number
  next_from: number | null
  /** The newest entry on the way that a good checkpoint signs. */
  signed_seq: number
  redacted: number
  head: { seq: number; hash: string; created_at: string } | null
  /** Where the retention has cut: entries up to here were deleted, and the log goes on from this hash. */
  anchor: { seq: number; hash: string; created_at: string } | null
  broken: Break | null
}

export interface VerifyInput {
  /** The entry to begin with; its predecessor is taken as it is. */
  from?: number | undefined
  limit: number
  /** What the caller noted of an earlier head. */
  known_seq?: number | undefined
  known_hash?: string | undefined
}

type Context = Pick<ServiceContext, 'db' | 'actor' | 'cipher'>

/** Recomputes the chain of the workspace and says where it is first not what was written. */
export async function verifyAuditLogs(ctx: Context, input: VerifyInput): Promise<Verification> {
  for (;;) {
    const found = await verifyOnce(ctx, input)
    if (found.broken === null) return found
    // A retention may have passed by between two looks: then it is looked at again, from where that has cut.
    const anchor = await lastSeal(ctx.db, ctx.actor.workspaceId, 'anchor')
    if (Number(anchor?.seq ?? 0) <= (found.anchor?.seq ?? 0)) return found
  }
}

async function verifyOnce(ctx: Context, input: VerifyInput): Promise<Verification> {
  const { db, actor, cipher } = ctx
  const { workspaceId } = actor
  // What is signed before the head, which only goes forward: the other way round a new checkpoint stands behind an old head.
  const checkpoint = await lastSeal(db, workspaceId, 'checkpoint')
  const anchorRow = await lastSeal(db, workspaceId, 'anchor')
  const headRow = await db
    .selectFrom('audit_heads')
    .selectAll()
    .where('workspace_id', '=', workspaceId)
    .executeTakeFirst()
  const head: Link = headRow ? { seq: Number(headRow.seq), hash: headRow.hash, at: headRow.at } : genesis
  const anchor: Link = anchorRow ? { seq: Number(anchorRow.seq), hash: anchorRow.hash, at: anchorRow.at } : genesis
  const start = Math.max(input.from ?? 1, anchor.seq + 1)

  const result = (broken: Break | null, rest: Partial<Verification> = {}): Verification => ({
    valid: broken === null,
    complete: true,
    checked: 0,
    from_seq: start,
    to_seq: start - 1,
    next_from: null,
    signed_seq: 0,
    redacted: 0,
    head: headRow ? shown(head) : null,
    anchor: anchorRow ? shown(anchor) : null,
    ...rest,
    broken,
  })

  if (anchorRow && !(await isSigned(cipher, anchorRow)))
    return result({
      seq: anchor.seq,
      kind: 'anchor',
      detail: 'The anchor of the retention is not signed by this installation.',
    })
  const truncated = await truncation(ctx, head, Number(checkpoint?.seq ?? 0))
  if (truncated) return result(truncated)
  const unknown = await unlikeKnown(ctx, input, anchor)
  if (unknown) return result(unknown)
  if (start > head.seq) return result(null)

  const before = start === anchor.seq + 1 ? anchor : await linkAt(ctx, start - 1)
  if (!before) return result({ seq: start - 1, kind: 'missing', detail: `Entry ${start - 1} is not there.` })
  const walked = await walkChain({ db, cipher }, { workspaceId, from: before, to: head.seq, limit: input.limit })
  const complete = walked.broken !== null || walked.reached.seq >= head.seq
  const isHead = walked.reached.seq !== head.seq || walked.reached.hash === head.hash
  const broken: Break | null =
    walked.broken ??
    (isHead ? null : { seq: head.seq, kind: 'head', detail: 'The last entry is not the one that the head names.' })
  return result(broken, {
    complete,
    checked: walked.checked,
    to_seq: walked.reached.seq,
    next_from: complete ? null : walked.reached.seq + 1,
    signed_seq: walked.signedSeq,
    redacted: walked.redacted,
  })
}

/** Entries behind the head, and a signature of one, tell that the end was cut off and the head put back. */
async function truncation({ db, actor }: Context, head: Link, signed: number): Promise<Break | null> {
  const beyond = await auditRows(db, actor.workspaceId)
    .where('seq', '>', head.seq)
    .orderBy('seq')
    .limit(1)
    .executeTakeFirst()
  if (signed > head.seq)
    return {
      seq: head.seq + 1,
      kind: 'head',
      detail: `A checkpoint has signed entry ${signed}; the log ends before it.`,
    }
  // Written since the head was read: not a break as long as the head has moved too.
  if (beyond) {
    const now = await db
      .selectFrom('audit_heads')
      .select('seq')
      .where('workspace_id', '=', actor.workspaceId)
      .executeTakeFirst()
    if (Number(now?.seq ?? 0) < Number(beyond.seq))
      return { seq: Number(beyond.seq), kind: 'head', detail: 'It stands behind the head of the log.' }
  }
  return null
}

async function unlikeKnown(
  ctx: Context,
  { known_seq: seq, known_hash: hash }: VerifyInput,
  anchor: Link,
): Promise<Break | null> {
  if (seq === undefined || hash === undefined || seq < anchor.seq) return null
  const link = seq === anchor.seq ? anchor : await linkAt(ctx, seq)
  if (link?.hash === hash.toLowerCase()) return null
  const detail = link ? 'It does not have the hash that is known of it.' : 'It is known, and not there.'
  return { seq, kind: 'known', detail }
}

async function linkAt({ db, actor }: Context, seq: number): Promise<Link | null> {
  const row = await auditRows(db, actor.workspaceId).where('seq', '=', seq).executeTakeFirst()
  return row ? { seq, hash: row.hash, at: row.created_at } : null
}

const shown = ({ seq, hash, at }: Link) => ({ seq, hash, created_at: at.toISOString() })
