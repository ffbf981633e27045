import { sql } from 'kysely'
import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import { effectiveDays } from '../retention/policy.ts'
import { liveConfig } from '../settings/live.ts'
import { lastSeal, signSeal, type Sealed } from './seals.ts'
import { genesis, walkChain } from './walk.ts'

const workspacesAtOnce = 50
/** Of one workspace in one pass. */
const entriesAtOnce = 20_000
const prunedAtOnce = 5_000

type Parts = Pick<Runtime, 'db' | 'cipher' | 'log'>

/** Signs how far each log has come, once it was found whole up to there. Locks nothing that an act waits for. */
async function sealHeads({ db, cipher, log }: Parts): Promise<TickReport> {
  const heads = await db
    .selectFrom('audit_heads')
    .select('workspace_id')
    .whereRef('seq', '<>', 'signed_seq')
    // In turn: neither a log that is always written nor one that is broken keeps others waiting.
    .orderBy('looked_at', (order) => order.asc().nullsFirst())
    .orderBy('workspace_id')
    .limit(workspacesAtOnce)
    .execute()
  let isBehind = false
  let sealed = 0
  for (const { workspace_id } of heads) {
    const anchor = await lastSeal(db, workspace_id, 'anchor')
    const checkpoint = await lastSeal(db, workspace_id, 'checkpoint')
    const newest = [anchor, checkpoint].reduce((a, b) => (b && Number(b.seq) > Number(a?.seq ?? -1) ? b : a), undefined)
    const from = newest ? { seq: Number(newest.seq), hash: newest.hash, at: newest.at } : genesis
    // After the signatures, for another process may sign meanwhile what was written meanwhile.
    const head = db.updateTable('audit_heads').where('workspace_id', '=', workspace_id)
    const looked = await head
      .set({ looked_at: sql<Date>`app_now()` })
      .returning('seq')
      .executeTakeFirst()
    if (!looked) continue
    const { seq } = looked
    if (from.seq > Number(seq)) {
      log.error('An audit log was tampered with: it ends before what was signed of it.', {
        workspace_id,
        signed: from.seq,
      })
      continue
    }
    const { reached, broken } = await walkChain(
      { db, cipher },
      { workspaceId: workspace_id, from, to: Number(seq), limit: entriesAtOnce },
    )
    if (broken) log.error('An audit log was tampered with.', { workspace_id, ...broken })
    if (reached.seq > from.seq) {
      const seal: Sealed = { workspace_id, kind: 'checkpoint', ...reached }
      const signature = await signSeal(cipher, seal)
      await db
        .insertInto('audit_seals')
        .values({ ...seal, signature })
        .onConflict((conflict) => conflict.doNothing())
        .execute()
      // A copy that does not lie beside the log itself.
      log.info('Audit checkpoint.', { workspace_id, seq: reached.seq, hash: reached.hash, signed: signature })
    }
    if (broken) continue
    await head.set({ signed_seq: reached.seq }).where('signed_seq', '<', reached.seq).execute()
    sealed++
    isBehind ||= reached.seq < Number(seq)
  }
  return { done: heads.length, more: isBehind || (sealed > 0 && heads.length >= workspacesAtOnce) }
}

/** Deletes what is old enough and signed, and leaves a signed anchor in its place, from which the rest still verifies. */
async function prune(runtime: Parts & Pick<Runtime, 'config'>): Promise<TickReport> {
  const { db, cipher } = runtime
  const config = liveConfig(runtime.config)
  const { rows } = await sql<{ workspace_id: string; seq: number; hash: string; at: Date; first: number }>`
    select h.workspace_id, l.seq::double precision as seq, l.hash, l.created_at as at, f.seq::double precision as first
    from audit_heads h left join retention_policies p on p.workspace_id = h.workspace_id
    cross join lateral (
      select seq from audit_logs where workspace_id = h.workspace_id order by seq limit 1
    ) f
    cross join lateral (
      select seq, hash, created_at from audit_logs
      where workspace_id = h.workspace_id and seq <= least(h.signed_seq, f.seq + ${prunedAtOnce - 1}::integer)
        and created_at <= app_now() - ${effectiveDays('audit_days', config)} * interval '1 day'
      order by seq desc limit 1
    ) l
    limit ${workspacesAtOnce}::integer`.execute(db)
  let done = 0
  for (const { workspace_id, seq, hash, at, first } of rows) {
    const anchor: Sealed = { workspace_id, kind: 'anchor', seq, hash, at }
    const signature = await signSeal(cipher, anchor)
    await db.transaction().execute(async (tx) => {
      await tx
        .insertInto('audit_seals')
        .values({ ...anchor, signature })
        .onConflict((conflict) => conflict.doNothing())
        .execute()
      await tx.deleteFrom('audit_logs').where('workspace_id', '=', workspace_id).where('seq', '<=', seq).execute()
      await tx
        .deleteFrom('audit_seals')
        .where('workspace_id', '=', workspace_id)
        .where((where) =>
          where.or([where('seq', '<', seq), where.and([where('seq', '=', seq), where('kind', '=', 'checkpoint')])]),
        )
        .execute()
    })
    done += seq - first + 1
  }
  return { done, more: rows.length >= workspacesAtOnce || done >= prunedAtOnce }
}

export const auditService: BackgroundService = {
  name: 'audit',
  periodMs: 10 * 60_000,
  async tick(runtime) {
    const reports = [await sealHeads(runtime), await prune(runtime)]
    return { done: reports.reduce((sum, { done }) => sum + done, 0), more: reports.some(({ more }) => more) }
  },
}
