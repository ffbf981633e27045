import type { Kysely } from 'kysely'
import type { Cipher } from '../context.ts'
import type { Database } from '../db/database.ts'
import { scopedTo } from '../db/scope.ts'
import { isUuid } from '../lib/ids.ts'
import { isObject } from '../lib/json.ts'
import { sealingContext } from '../lib/sealing-context.ts'
import type { FindCredential, UsableCredential } from './egress/secrets.ts'
import type { GetAccessToken } from './oauth-tokens.ts'

/** How the egress guard gets at the vault; the only code that opens a credential to use it. */
export function credentialReader(db: Kysely<Database>, cipher: Cipher, accessToken: GetAccessToken): FindCredential {
  return async (workspaceId, credential, signal) => {
    const found = await loadCredential(db, cipher, workspaceId, credential)
    if (!found?.kind.startsWith('oauth2_')) return found
    return { ...found, accessToken: () => accessToken(workspaceId, found, signal) }
  }
}

/** As it was stored, by slug or id. */
export async function loadCredential(
  db: Kysely<Database>,
  cipher: Cipher,
  workspaceId: string,
  credential: string,
): Promise<UsableCredential | null> {
  const row = await scopedTo(db, workspaceId)
    .selectFrom('credentials')
    .select(['id', 'slug', 'kind', 'hosts', 'sealed', 'fields'])
    .where('workspace_id', '=', workspaceId)
    .where(isUuid(credential) ? 'id' : 'slug', '=', credential)
    .executeTakeFirst()
  if (!row) return null
  const secret: unknown = JSON.parse(await cipher.open(row.sealed, sealingContext(workspaceId, row.id)))
  const { id, slug, kind, hosts } = row
  return { id, slug, kind, hosts, fields: textsOf({ ...row.fields, ...(isObject(secret) ? secret : {}) }) }
}

/** Numbers and flags of a credential are sent as texts. */
const textsOf = (fields: Record<string, unknown>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]))
