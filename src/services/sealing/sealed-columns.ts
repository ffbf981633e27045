import type { Database } from '../../db/database.ts'
import { sealingContext, tokensContext, userKeyContext } from '../../lib/sealing-context.ts'
import { answerPlace } from '../idempotency/answer-once.ts'
import { sealingPlace } from '../subscriptions/secrets.ts'

type Row = Readonly<Record<string, string>>

export interface SealedColumn {
  table: keyof Database & string
  column: string
  /** What names a row within its workspace; rows are taken in this order. */
  key: readonly string[]
  /** What the text is bound to, as whoever seals it binds it. */
  place: (workspaceId: string, key: Row) => string
}

const byId = (table: SealedColumn['table'], column: string, place: (workspaceId: string, id: string) => string) => ({
  table,
  column,
  key: ['id'],
  place: (workspaceId: string, { id }: Row) => place(workspaceId, id!),
})
const secretOf = (table: 'webhooks' | 'webhook_subscriptions', column: 'secret' | 'previous_secret') =>
  byId(table, column, (workspaceId, id) => sealingPlace(table, workspaceId, id))

/** Every column that holds sealed texts. Whoever seals into another one adds it here, or a rotation would leave it behind. */
export const sealedColumns: readonly SealedColumn[] = [
  byId('credentials', 'sealed', sealingContext),
  byId('credentials', 'sealed_tokens', tokensContext),
  byId('user_api_keys', 'sealed', userKeyContext),
  secretOf('webhooks', 'secret'),
  secretOf('webhooks', 'previous_secret'),
  secretOf('webhook_subscriptions', 'secret'),
  secretOf('webhook_subscriptions', 'previous_secret'),
  {
    // Only answers with secrets in them are sealed; the others are JSON.
    table: 'idempotency_keys',
    column: 'answer',
    key: ['operation', 'key'],
    place: (workspaceId, row) => answerPlace(workspaceId, row['operation']!, row['key']!),
  },
]
