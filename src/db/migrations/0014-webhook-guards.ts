import type { Migration } from './migration.ts'

export const webhookGuards: Migration = {
  name: '0014-webhook-guards',
  statements: [
    // Whether whoever made and changed it may read executions: then a sender that waits is told the output.
    `alter table webhooks add column tells_output boolean not null default false`,
    // Of a signature that covers the body alone. What is captured can be sent again under any id, but once only.
    `alter table webhook_receipts add column signature_hash text`,
    `create unique index webhook_receipts_signature on webhook_receipts (webhook_id, signature_hash)
      where signature_hash is not null and redelivery_of is null and verdict in ('accepted', 'filtered')`,
  ],
}
