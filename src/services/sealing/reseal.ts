import { sql, type Kysely } from 'kysely'
import type { Cipher } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { scopedTo } from '../../db/scope.ts'
import { signSealsAnew } from '../audit/seals.ts'
import { sealedColumns, type SealedColumn } from './sealed-columns.ts'

export interface ResealReport {
  resealed: number
  /** `table.column key` of what no key of the ring opens or has signed; it stays as it is. */
  failed: string[]
}

interface Parts {
  db: Kysely<Database>
  cipher: Cipher
}

const batchSize = 100
/** A process that has not been restarted may seal with an older key meanwhile: then the columns are gone through again. */
const mostPasses = 3

/**
 * Seals anew whatever another than the ring's first key has sealed, and signs anew the seals of the audit logs, in all workspaces, while the product is running. Every
 * text is replaced by one statement of its own, and only where it is still the one that was opened: readers find either, a
 * writer wins, and nothing is lost at whatever point it ends. What is done is not done again by the next time.
 */
export async function resealAll(
  { db, cipher }: Parts,
  firstKeyId: string,
  onProgress: (resealed: number) => void = () => {},
): Promise<ResealReport> {
  const failed = new Set<string>()
  let resealed = 0
  const done = (count: number) => {
    resealed += count
    if (count > 0) onProgress(resealed)
  }
  for (let pass = 1; pass <= mostPasses; pass++) {
    const before = resealed
    for await (const workspaceId of workspacesOf(db)) {
      const rows = scopedTo(db, workspaceId)
      for (const column of sealedColumns) {
        await resealColumn({ db: rows, cipher }, workspaceId, column, firstKeyId, {
          done,
          failed: (name) => void failed.add(name),
        })
      }
    }
    await signSealsAnew({ db, cipher }, firstKeyId, {
      done,
      failed: (name) => void failed.add(`audit_seals.signature ${name}`),
    })
    if (resealed === before) break
  }
  return { resealed, failed: [...failed] }
}

async function* workspacesOf(db: Kysely<Database>): AsyncGenerator<string> {
  let after = '00000000-0000-0000-0000-000000000000'
  for (;;) {
    const rows = await db
      .selectFrom('workspaces')
      .select('id')
      .where('id', '>', after)
      .orderBy('id')
      .limit(500)
      .execute()
    for (const { id } of rows) yield id
    if (rows.length < 500) return
    after = rows.at(-1)!.id
  }
}

async function resealColumn(
  { db, cipher }: Parts,
  workspaceId: string,
  { table, column, key, place }: SealedColumn,
  firstKeyId: string,
  report: { done(count: number): void; failed(name: string): void },
): Promise<void> {
  const [tableName, sealedColumn] = [sql.table(table), sql.ref(column)]
  const keyList = sql.join(key.map((name) => sql.ref(name)))
  const typed = (name: string, text: string) => (name === 'id' ? sql`${text}::text::uuid` : sql`${text}::text`)
  let after: Record<string, string> | null = null
  for (;;) {
    const { rows }: { rows: Record<string, string>[] } = await sql<Record<string, string>>`
      select ${sql.join(key.map((name) => sql`${sql.ref(name)}::text as ${sql.ref(name)}`))},
        ${sealedColumn} as sealed_text
      from ${tableName}
      where workspace_id = ${workspaceId}::text::uuid and ${sealedColumn} like 'v1.%'
        and split_part(${sealedColumn}, '.', 2) <> ${firstKeyId}::text
        ${after === null ? sql`` : sql`and (${keyList}) > (${sql.join(key.map((name) => typed(name, after![name]!)))})`}
      order by ${sql.join(key.map((name) => sql.ref(`${table}.${name}`)))} limit ${batchSize}::integer`.execute(db)
    let done = 0
    for (const row of rows) {
      const context = place(workspaceId, row)
      const sealed = row['sealed_text']!
      const plain = await cipher.open(sealed, context).catch(() => null)
      if (plain === null) {
        report.failed(`${table}.${column} ${key.map((name) => row[name]).join(' ')}`)
        continue
      }
      const isRow = sql.join(
        key.map((name) => sql`${sql.ref(name)} = ${typed(name, row[name]!)}`),
        sql` and `,
      )
      const { numAffectedRows } = await sql`
        update ${tableName} set ${sealedColumn} = ${await cipher.seal(plain, context)}::text
        where workspace_id = ${workspaceId}::text::uuid and ${isRow} and ${sealedColumn} = ${sealed}::text`.execute(db)
      if (numAffectedRows) done++
    }
    report.done(done)
    if (rows.length < batchSize) return
    after = rows.at(-1)!
  }
}
