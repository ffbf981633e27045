import { sql, type Kysely } from 'kysely'
import type { Cipher, Runtime } from '../context.ts'
import type { Database } from '../db/database.ts'
import { sealingContext } from '../lib/sealing-context.ts'
import type { UsableCredential } from './egress/secrets.ts'

type Defer = Runtime['defer']

/** How the egress guard gets at the vault; the only code that opens a credential to use it. */
export const credentialReader =
  (db: Kysely<Database>, cipher: Cipher, defer?: Defer) =>
  (workspaceId: string, slug: string): Promise<UsableCredential | null> =>
    loadCredential(db, cipher, workspaceId, slug, defer)

/** Its use is recorded at most once a minute, through `defer` where there is one. */
export async function loadCredential(
  db: Kysely<Database>,
  cipher: Cipher,
  workspaceId: string,
  slug: string,
  defer?: Defer,
): Promise<UsableCredential | null> {
  const row = await db
    .selectFrom('credentials')
    .select(['id', 'slug', 'kind', 'hosts', 'sealed'])
    .select(sql<boolean>`last_used_at is null or last_used_at < app_now() - interval '1 minute'`.as('use_unrecorded'))
    .where('workspace_id', '=', workspaceId)
    .where('slug', '=', slug)
    .executeTakeFirst()
  if (!row) return null
  const fields: unknown = JSON.parse(await cipher.open(row.sealed, sealingContext(workspaceId, row.id)))
  if (row.use_unrecorded) {
    const recorded = recordUse(db, workspaceId, row.id)
    if (defer) defer(recorded)
    else await recorded
  }
  return asCredential({ slug: row.slug, hosts: row.hosts, kind: row.kind, fields })
}

/** Safe because only the vault's service seals, after it has checked the fields of the kind, and the cipher vouches for the text. */
const asCredential = (value: { slug: string; hosts: string[]; kind: UsableCredential['kind']; fields: unknown }) =>
  value as UsableCredential

async function recordUse(db: Kysely<Database>, workspaceId: string, id: string): Promise<void> {
  await db
    .updateTable('credentials')
    .set({ last_used_at: sql<Date>`app_now()` })
    .where('workspace_id', '=', workspaceId)
    .where('id', '=', id)
    .execute()
}
