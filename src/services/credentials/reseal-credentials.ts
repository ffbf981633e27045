import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import { sealingContext } from '../../lib/sealing-context.ts'

export interface ResealReport {
  resealed: number
  /** Ids of credentials that no key of the ring opens; they stay as they are. */
  failed: string[]
}

const batchSize = 100

/**
 * Seals every credential anew that another than the ring's first key has sealed. May be stopped and repeated at any
 * point; a row that was changed or deleted meanwhile is left to its writer. Not a tenant's verb: it spans workspaces.
 */
export async function resealCredentials(
  { db, cipher }: Pick<Runtime, 'db' | 'cipher'>,
  firstKeyId: string,
): Promise<ResealReport> {
  const report: ResealReport = { resealed: 0, failed: [] }
  let after = '00000000-0000-0000-0000-000000000000'
  for (;;) {
    const rows = await db
      .selectFrom('credentials')
      .select(['id', 'workspace_id', 'sealed'])
      .where('id', '>', after)
      .where(sql<string>`split_part(sealed, '.', 2)`, '!=', firstKeyId)
      .orderBy('id')
      .limit(batchSize)
      .execute()
    for (const { id, workspace_id, sealed } of rows) {
      const context = sealingContext(workspace_id, id)
      const plain = await cipher.open(sealed, context).catch(() => null)
      if (plain === null) {
        report.failed.push(id)
        continue
      }
      const done = await db
        .updateTable('credentials')
        .set({ sealed: await cipher.seal(plain, context) })
        .where('id', '=', id)
        .where('sealed', '=', sealed)
        .returning('id')
        .executeTakeFirst()
      if (done) report.resealed++
    }
    if (rows.length < batchSize) return report
    after = rows.at(-1)!.id
  }
}
