import type { Selectable } from 'kysely'
import type { ServiceContext } from '../context.ts'
import { jsonb } from '../db/json.ts'
import { newestFirst } from '../db/keyset.ts'
import type { CredentialsTable } from '../db/tables/identity.table.ts'
import { AppError, type Fault } from '../lib/errors.ts'
import { entityTag, requireMatch } from '../lib/etag.ts'
import { isUuid, uuidv7 } from '../lib/ids.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../lib/pagination.ts'
import { sealingContext } from '../lib/sealing-context.ts'
import { coversTopLevel, formatHostPattern, parseHostPattern } from '../lib/net/host-pattern.ts'
import { checkFields, fieldNames, type CredentialKind, type CredentialSecret } from './credentials/credential-fields.ts'

export { resealCredentials } from './credentials/reseal-credentials.ts'

/** What is shown of a credential: everything but its secret. */
export interface Credential {
  id: string
  slug: string
  name: string
  kind: CredentialKind
  hosts: string[]
  /** Names of the fields that `secret('slug.field')` can use. */
  fields: string[]
  last_used_at: string | null
  created_at: string
}

export type NewCredential = { slug: string; name?: string; hosts: string[] } & CredentialSecret

type Context = Pick<ServiceContext, 'db' | 'actor'>

export async function createCredential(
  { db, actor, cipher }: Context & Pick<ServiceContext, 'cipher'>,
  input: NewCredential,
): Promise<Credential> {
  const faults = checkFields(input)
  const hosts = readHosts(input.hosts, faults)
  if (isUuid(input.slug)) faults.push({ pointer: '/slug', detail: 'must not look like an id' })
  if (faults.length > 0) throw new AppError('invalid', 'The credential cannot be stored like this.', { errors: faults })

  const id = uuidv7()
  const row = await db
    .insertInto('credentials')
    .values({
      id,
      workspace_id: actor.workspaceId,
      slug: input.slug,
      name: input.name ?? input.slug,
      kind: input.kind,
      hosts: jsonb(hosts),
      sealed: await cipher.seal(JSON.stringify(input.fields), sealingContext(actor.workspaceId, id)),
    })
    .onConflict((conflict) => conflict.columns(['workspace_id', 'slug']).doNothing())
    .returningAll()
    .executeTakeFirst()
  if (!row) throw new AppError('conflict', `There is a credential "${input.slug}" already.`)
  return toCredential(row)
}

export async function listCredentials({ db, actor }: Context, page: PageRequest): Promise<Page<Credential>> {
  const query = db.selectFrom('credentials').selectAll().where('workspace_id', '=', actor.workspaceId)
  const rows = await newestFirst(query, page).execute()
  return toPage(rows, page.limit, byCreation, toCredential)
}

/** By slug or id. */
export async function getCredential({ db, actor }: Context, credential: string): Promise<Credential> {
  const row = await db
    .selectFrom('credentials')
    .selectAll()
    .where('workspace_id', '=', actor.workspaceId)
    .where(isUuid(credential) ? 'id' : 'slug', '=', credential)
    .executeTakeFirst()
  if (!row) throw missing(credential)
  return toCredential(row)
}

/** By slug or id. What uses it is refused at its next request. */
export async function deleteCredential(
  { db, actor }: Context,
  credential: string,
  ifMatch: string | null = null,
): Promise<void> {
  await db.transaction().execute(async (tx) => {
    const row = await tx
      .selectFrom('credentials')
      .selectAll()
      .where('workspace_id', '=', actor.workspaceId)
      .where(isUuid(credential) ? 'id' : 'slug', '=', credential)
      .forUpdate()
      .executeTakeFirst()
    if (!row) throw missing(credential)
    requireMatch(ifMatch, credentialTag(toCredential(row)))
    await tx.deleteFrom('credentials').where('id', '=', row.id).execute()
  })
}

export const credentialTag = ({ last_used_at, ...credential }: Credential): string =>
  entityTag(credential, last_used_at)

/** Canonical and without repetition. A pattern for every host is none: it would bind the secret to nothing. */
function readHosts(hosts: string[], faults: Fault[]): string[] {
  const read = hosts.map((text, index) => {
    const pattern = parseHostPattern(text)
    if (pattern && !coversTopLevel(pattern)) return formatHostPattern(pattern)
    faults.push({
      pointer: `/hosts/${index}`,
      detail: 'must be a host, host:port or *.suffix with a dot in the suffix',
    })
    return text
  })
  return [...new Set(read)]
}

const missing = (credential: string) => new AppError('not-found', `The credential ${credential} does not exist.`)

function toCredential(row: Selectable<CredentialsTable>): Credential {
  return {
    id: row.id,
    slug: row.slug,
    name: row.name,
    kind: row.kind,
    hosts: row.hosts,
    fields: [...fieldNames[row.kind]],
    last_used_at: row.last_used_at?.toISOString() ?? null,
    created_at: row.created_at.toISOString(),
  }
}
