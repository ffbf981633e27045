import { sql, type Kysely } from 'kysely'
import type { Cipher, Runtime } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import type { ResealReport } from '../credentials/reseal-credentials.ts'

export type SecretTable = 'webhooks' | 'webhook_subscriptions'

/** Binds a sealed secret to its row: copied to another one it does not open. */
const sealingPlace = (table: SecretTable, workspaceId: string, id: string) => `${table}:${workspaceId}:${id}`

interface Holder {
  id: string
  workspace_id: string
}
export interface SecretColumns {
  secret: string
  previous_secret: string | null
  /** Whether the previous one is still valid, by the database's clock. */
  has_previous: boolean
}

export const sealSecret = (cipher: Cipher, table: SecretTable, holder: Holder, secret: string): Promise<string> =>
  cipher.seal(secret, sealingPlace(table, holder.workspace_id, holder.id))

/** The secrets that are valid now, the current one first. */
export async function openSecrets(
  cipher: Cipher,
  table: SecretTable,
  row: Holder & SecretColumns,
): Promise<[current: string, ...previous: string[]]> {
  const place = sealingPlace(table, row.workspace_id, row.id)
  const current = await cipher.open(row.secret, place)
  if (!row.has_previous || row.previous_secret === null) return [current]
  return [current, await cipher.open(row.previous_secret, place)]
}

/** Selected with a row whose secrets are to be opened. */
export const hasPrevious = sql<boolean>`coalesce(previous_until > app_now(), false)`.as('has_previous')

/** Seals secrets of webhooks anew that another than the ring's first key has sealed. Spans workspaces; may be repeated. */
export async function resealWebhookSecrets(
  { db, cipher }: Pick<Runtime, 'db' | 'cipher'>,
  firstKeyId: string,
): Promise<ResealReport> {
  const report: ResealReport = { resealed: 0, failed: [] }
  for (const table of ['webhooks', 'webhook_subscriptions'] as const) {
    for (const column of ['secret', 'previous_secret'] as const) {
      await resealColumn(db, cipher, table, column, firstKeyId, report)
    }
  }
  return report
}

const batchSize = 100

async function resealColumn(
  db: Kysely<Database>,
  cipher: Cipher,
  table: SecretTable,
  column: 'secret' | 'previous_secret',
  firstKeyId: string,
  report: ResealReport,
): Promise<void> {
  const [tableName, sealedColumn] = [sql.table(table), sql.ref(column)]
  let after = '00000000-0000-0000-0000-000000000000'
  for (;;) {
    const { rows } = await sql<Holder & { sealed: string }>`
      select id, workspace_id, ${sealedColumn} as sealed from ${tableName}
      where id > ${after}::text::uuid and ${sealedColumn} is not null
        and split_part(${sealedColumn}, '.', 2) <> ${firstKeyId}
      order by id limit ${batchSize}::integer`.execute(db)
    for (const { id, workspace_id, sealed } of rows) {
      const place = sealingPlace(table, workspace_id, id)
      const plain = await cipher.open(sealed, place).catch(() => null)
      if (plain === null) {
        report.failed.push(id)
        continue
      }
      const written = await sql`
        update ${tableName} set ${sealedColumn} = ${await cipher.seal(plain, place)}
        where id = ${id}::text::uuid and ${sealedColumn} = ${sealed}`.execute(db)
      if (written.numAffectedRows) report.resealed++
    }
    if (rows.length < batchSize) return
    after = rows.at(-1)!.id
  }
}
