import { sql, type Kysely, type Selectable } from 'kysely'
import type { Cipher } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import type { AuditSealsTable } from '../../db/tables/audit.table.ts'
import { canonicalJson } from '../../lib/canonical.ts'

export type Seal = Selectable<AuditSealsTable>
type Kind = Seal['kind']
export type Sealed = Pick<Seal, 'workspace_id' | 'kind' | 'seq' | 'hash' | 'at'>

/** A purpose for each kind: whoever deletes what stands before a checkpoint cannot pass it off as the anchor of a retention. */
const purposeOf = (kind: Kind) => `audit-${kind}`
const textOf = ({ workspace_id, kind, seq, hash, at }: Sealed) =>
  canonicalJson([workspace_id, kind, Number(seq), hash, at.getTime()])

export const signSeal = (cipher: Cipher, seal: Sealed): Promise<string> =>
  cipher.sign(textOf(seal), purposeOf(seal.kind))
export const isSigned = (cipher: Cipher, seal: Seal): Promise<boolean> =>
  cipher.verify(textOf(seal), seal.signature, purposeOf(seal.kind))

/** The newest of a kind. */
export const lastSeal = (db: Kysely<Database>, workspaceId: string, kind: Kind): Promise<Seal | undefined> =>
  db
    .selectFrom('audit_seals')
    .selectAll()
    .where('workspace_id', '=', workspaceId)
    .where('kind', '=', kind)
    .orderBy('seq', 'desc')
    .limit(1)
    .executeTakeFirst()

const atOnce = 500

/**
 * Signs with the ring's first key whatever another key has signed, or nobody could verify the log once that key is gone. What
 * no key of the ring has signed stays as it is, and is named as `workspace kind seq`: a rotation makes nothing good. Needs
 * the engine's rights; those who act in a workspace change no seal.
 */
export async function signSealsAnew(
  { db, cipher }: { db: Kysely<Database>; cipher: Cipher },
  firstKeyId: string,
  report: { done(count: number): void; failed(name: string): void },
): Promise<void> {
  let after: Seal | null = null
  for (;;) {
    const seals: Seal[] = await db
      .selectFrom('audit_seals')
      .selectAll()
      .where(sql<boolean>`split_part(signature, '.', 1) <> ${firstKeyId}::text`)
      .$if(after !== null, (query) =>
        query.where(
          sql<boolean>`(workspace_id, kind, seq) > (${after!.workspace_id}::text::uuid, ${after!.kind}::text, ${after!.seq}::bigint)`,
        ),
      )
      .orderBy('workspace_id')
      .orderBy('kind')
      .orderBy('seq')
      .limit(atOnce)
      .execute()
    let done = 0
    for (const seal of seals) {
      if (!(await isSigned(cipher, seal))) {
        report.failed(`${seal.workspace_id} ${seal.kind} ${seal.seq}`)
        continue
      }
      const { numUpdatedRows } = await db
        .updateTable('audit_seals')
        .set({ signature: await signSeal(cipher, seal) })
        .where('workspace_id', '=', seal.workspace_id)
        .where('kind', '=', seal.kind)
        .where('seq', '=', seal.seq)
        .where('signature', '=', seal.signature)
        .executeTakeFirstOrThrow()
      done += Number(numUpdatedRows)
    }
    report.done(done)
    if (seals.length < atOnce) return
    after = seals.at(-1)!
  }
}
