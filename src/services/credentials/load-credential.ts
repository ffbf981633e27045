import { sql, type Kysely } from 'kysely'
import type { Cipher, Runtime } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import type { CredentialSecret } from './credential-fields.ts'
import { sealingContext } from './sealing-context.ts'

export type LoadedCredential = { slug: string; hosts: string[] } & CredentialSecret

/**
 * A credential with its secret, for the egress guard alone. Its use is recorded at most once a minute, through `defer`
 * where there is one.
 */
export async function loadCredential(
  db: Kysely<Database>,
  cipher: Cipher,
  workspaceId: string,
  slug: string,
  defer?: Runtime['defer'],
): Promise<LoadedCredential | null> {
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
  return { slug: row.slug, hosts: row.hosts, ...asSecret(row.kind, fields) }
}

/** Safe because only `createCredential` seals, after it has checked the fields of the kind, and the cipher vouches for the text. */
const asSecret = (kind: CredentialSecret['kind'], fields: unknown) => ({ kind, fields }) as CredentialSecret

async function recordUse(db: Kysely<Database>, workspaceId: string, id: string): Promise<void> {
  await db
    .updateTable('credentials')
    .set({ last_used_at: sql<Date>`app_now()` })
    .where('workspace_id', '=', workspaceId)
    .where('id', '=', id)
    .execute()
}
