import { sql } from 'kysely'
import type { Cipher } from '../../context.ts'

export type SecretTable = 'webhooks' | 'webhook_subscriptions'

/** Binds a sealed secret to its row: copied to another one it does not open. */
export const sealingPlace = (table: SecretTable, workspaceId: string, id: string) => `${table}:${workspaceId}:${id}`

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
