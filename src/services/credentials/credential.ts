import type { Selectable } from 'kysely'
import type { Cipher, ServiceContext } from '../../context.ts'
import { newestFirst } from '../../db/keyset.ts'
import type { CredentialsTable, StoredTest } from '../../db/tables/vault.table.ts'
import { AppError } from '../../lib/errors.ts'
import { entityTag } from '../../lib/etag.ts'
import { isUuid } from '../../lib/ids.ts'
import type { JsonObject } from '../../lib/json.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { sealingContext } from '../../lib/sealing-context.ts'
import { propertiesOf, schemaOf, splitFields } from './fields.ts'

/** What is shown of a credential: everything but its secrets. */
export interface Credential {
  id: string
  slug: string
  name: string
  kind: string
  hosts: string[]
  /** Names of the fields that `secret('slug.field')` can use. */
  fields: string[]
  /** Of the fields that are no secrets. */
  values: JsonObject
  field_schema: JsonObject | null
  test_url: string | null
  version: number
  connection: CredentialsTable['connection']
  token_expires_at: string | null
  last_test: StoredTest | null
  last_used_at: string | null
  created_at: string
  updated_at: string
}

export type CredentialRow = Selectable<CredentialsTable>
export type Context = Pick<ServiceContext, 'db' | 'actor' | 'cipher'>

export async function listCredentials({ db, actor, cipher }: Context, page: PageRequest): Promise<Page<Credential>> {
  const query = db.selectFrom('credentials').selectAll().where('workspace_id', '=', actor.workspaceId)
  const rows = await newestFirst(query, page).execute()
  const { items, next_cursor } = toPage(rows, page.limit, byCreation, (row) => row)
  return { items: await Promise.all(items.map((row) => toCredential(row, cipher))), next_cursor }
}

/** By slug or id. */
export async function getCredential(ctx: Context, credential: string): Promise<Credential> {
  return toCredential(await findRow(ctx, credential), ctx.cipher)
}

export async function findRow(
  { db, actor }: Pick<Context, 'db' | 'actor'>,
  credential: string,
  { lock = false } = {},
): Promise<CredentialRow> {
  const row = await db
    .selectFrom('credentials')
    .selectAll()
    .where('workspace_id', '=', actor.workspaceId)
    .where(isUuid(credential) ? 'id' : 'slug', '=', credential)
    .$if(lock, (query) => query.forUpdate())
    .executeTakeFirst()
  if (!row) throw new AppError('not-found', `The credential ${credential} does not exist.`)
  return row
}

/** What callers write makes the tag; tests, tokens and uses come and go by themselves. */
export const credentialTag = ({
  last_used_at,
  last_test,
  connection,
  token_expires_at,
  ...state
}: Credential): string => entityTag(state, [last_used_at, last_test, connection, token_expires_at])

/** All fields, as they were given. */
export async function openFields(row: CredentialRow, cipher: Cipher): Promise<JsonObject> {
  const sealed = JSON.parse(await cipher.open(row.sealed, sealingContext(row.workspace_id, row.id))) as JsonObject
  return { ...row.fields, ...sealed }
}

export async function toCredential(row: CredentialRow, cipher: Cipher): Promise<Credential> {
  const schema = schemaOf(row.kind, row.field_schema)
  return {
    id: row.id,
    slug: row.slug,
    name: row.name,
    kind: row.kind,
    hosts: row.hosts,
    fields: propertiesOf(schema).map(([name]) => name),
    // A row of an older process has all its fields sealed.
    values: row.fields ?? splitFields(schema, await openFields(row, cipher)).readable,
    field_schema: row.field_schema,
    test_url: row.test_url,
    version: row.version,
    connection: row.connection,
    token_expires_at: row.token_expires_at?.toISOString() ?? null,
    last_test: row.last_test,
    last_used_at: row.last_used_at?.toISOString() ?? null,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  }
}
