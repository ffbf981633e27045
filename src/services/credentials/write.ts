import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import { requireMatch } from '../../lib/etag.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import type { JsonObject } from '../../lib/json.ts'
import { mergePatch } from '../../lib/merge-patch.ts'
import { matchesHostPattern, parseHostPattern } from '../../lib/net/host-pattern.ts'
import { sealingContext } from '../../lib/sealing-context.ts'
import { changesOf, recordAudit } from '../audit/record.ts'
import { credentialTag, findRow, openFields, toCredential, type Credential, type Context } from './credential.ts'
import {
  defaultHosts,
  faultsOfFields,
  faultsOfFieldSchema,
  readHosts,
  schemaOf,
  splitFields,
  withDefaults,
} from './fields.ts'
import { findType } from './types.data.ts'
import { usersOf } from './users.ts'

export interface NewCredential {
  slug: string
  kind: string
  name?: string | undefined
  hosts?: string[] | undefined
  fields: JsonObject
  field_schema?: JsonObject | undefined
  test_url?: string | null | undefined
}
export interface CredentialChanges {
  name?: string | undefined
  hosts?: string[] | undefined
  /** Replaces single fields; null takes one away. */
  fields?: JsonObject | undefined
  test_url?: string | null | undefined
}

type Writer = Context & Pick<ServiceContext, 'requestId' | 'client'>

/** Segments of paths under /api/credentials. */
const reserved = new Set(['types', 'oauth'])

export async function createCredential(ctx: Writer, input: NewCredential): Promise<Credential> {
  const { db, actor, cipher } = ctx
  const own = input.kind === 'custom' ? input.field_schema : undefined
  const faults = input.kind === 'custom' ? faultsOfFieldSchema(own) : []
  if (input.kind !== 'custom' && input.field_schema !== undefined)
    faults.push({ pointer: '/field_schema', detail: 'is for type custom only' })
  const schema = schemaOf(input.kind, own ?? null)
  const given = faults.length > 0 ? input.fields : withDefaults(schema, input.fields)
  if (faults.length === 0) faults.push(...faultsOfFields(input.kind, schema, given))
  const hosts = hostsFor(input.kind, input.hosts, given, faults)
  checkTestUrl(input.test_url, hosts, faults)
  if (isUuid(input.slug)) faults.push({ pointer: '/slug', detail: 'must not look like an id' })
  if (reserved.has(input.slug)) faults.push({ pointer: '/slug', detail: 'is part of a path' })
  refuse(faults)

  const id = uuidv7()
  return db.transaction().execute(async (tx) => {
    const row = await tx
      .insertInto('credentials')
      .values({
        id,
        workspace_id: actor.workspaceId,
        slug: input.slug,
        name: input.name ?? input.slug,
        kind: input.kind,
        hosts: jsonb(hosts),
        field_schema: own ? jsonb(own) : null,
        test_url: input.test_url ?? null,
        connection: input.kind === 'oauth2_authorization_code' ? 'pending' : null,
        ...(await stored(ctx, id, input.kind, schema, given)),
      })
      .onConflict((conflict) => conflict.columns(['workspace_id', 'slug']).doNothing())
      .returningAll()
      .executeTakeFirst()
    if (!row) throw new AppError('conflict', `There is a credential "${input.slug}" already.`)
    const credential = await toCredential(row, cipher)
    await recordAudit(tx, ctx, {
      action: 'credential.created',
      target: { type: 'credential', id },
      after: audited(credential),
    })
    return credential
  })
}

export async function updateCredential(
  ctx: Writer,
  credential: string,
  changes: CredentialChanges,
  ifMatch: string | null,
): Promise<Credential> {
  const { db, cipher } = ctx
  return db.transaction().execute(async (tx) => {
    const row = await findRow({ db: tx, actor: ctx.actor }, credential, { lock: true })
    const before = await toCredential(row, cipher)
    requireMatch(ifMatch, credentialTag(before))
    const schema = schemaOf(row.kind, row.field_schema)
    const old = await openFields(row, cipher)
    const fields = mergePatch(old, changes.fields ?? {}) as JsonObject
    const faults = faultsOfFields(row.kind, schema, fields)
    const follows = changes.hosts === undefined && isSame(row.hosts, defaultHosts(findType(row.kind)!, old))
    const hosts = hostsFor(row.kind, follows ? undefined : (changes.hosts ?? row.hosts), fields, faults)
    const testUrl = changes.test_url === undefined ? row.test_url : changes.test_url
    checkTestUrl(testUrl, hosts, faults)
    const leads = leadsElsewhere(row.hosts, hosts, old, fields)
    if (leads !== null) {
      // Otherwise whoever may change a credential could send its secret to themselves, and so read it.
      const secrets = Object.keys(splitFields(schema, fields).secret)
      if (secrets.some((name) => changes.fields?.[name] === undefined))
        faults.push({ pointer: leads, detail: `lets the secret go elsewhere: give ${secrets.join(', ')} anew with it` })
    }
    refuse(faults)

    const isNew = leads !== null || !isSame(old, fields)
    const isOAuth = row.kind.startsWith('oauth2_')
    const updated = await tx
      .updateTable('credentials')
      .set({
        name: changes.name ?? row.name,
        hosts: jsonb(hosts),
        test_url: testUrl,
        version: row.version + 1,
        updated_at: sql<Date>`app_now()`,
        ...(await stored(ctx, row.id, row.kind, schema, fields)),
        // What was given to the old client, or for the old hosts, is not the new one's.
        ...(isNew && {
          last_test: null,
          ...(isOAuth && { sealed_tokens: null, token_expires_at: null, token_lease: null, token_lease_until: null }),
          ...(row.kind === 'oauth2_authorization_code' && { connection: 'pending' as const }),
        }),
      })
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('id', '=', row.id)
      .returningAll()
      .executeTakeFirstOrThrow()
    const after = await toCredential(updated, cipher)
    await recordAudit(tx, ctx, {
      action: 'credential.updated',
      target: { type: 'credential', id: row.id },
      ...changesOf(audited(before), {
        ...audited(after),
        ...(changes.fields && { replaced: Object.keys(changes.fields) }),
      }),
    })
    return after
  })
}

/** By slug or id. What still names it, where that is forced, is refused at its next request. */
export async function deleteCredential(
  ctx: Writer,
  credential: string,
  { ifMatch = null, force = false }: { ifMatch?: string | null; force?: boolean } = {},
): Promise<void> {
  await ctx.db.transaction().execute(async (tx) => {
    const within = { ...ctx, db: tx }
    const row = await findRow(within, credential, { lock: true })
    const shown = await toCredential(row, ctx.cipher)
    requireMatch(ifMatch, credentialTag(shown))
    const users = await usersOf(within, row)
    if (users.length > 0 && !force) {
      const named = users.slice(0, 20).map(({ type, slug }) => `${type} ${slug}`)
      const more = users.length > named.length ? ` and ${users.length - named.length} more` : ''
      throw new AppError('conflict', `The credential is used by ${named.join(', ')}${more}. ?force=true deletes it.`)
    }
    await tx
      .deleteFrom('credentials')
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('id', '=', row.id)
      .execute()
    await recordAudit(tx, ctx, {
      action: 'credential.deleted',
      target: { type: 'credential', id: row.id },
      before: audited(shown),
      ...(users.length > 0 && { after: { forced: users.map(({ type, slug }) => `${type} ${slug}`) } }),
    })
  })
}

const audited = ({ slug, name, kind, hosts, values, test_url }: Credential): JsonObject => ({
  slug,
  name,
  kind,
  hosts,
  values,
  test_url,
})

/** Of these a process before 0024 reads all fields from the sealed text. */
const sealedWhole = new Set(['basic', 'header', 'query'])

async function stored({ cipher, actor }: Writer, id: string, kind: string, schema: JsonObject, values: JsonObject) {
  const { secret, readable } = splitFields(schema, values)
  const text = JSON.stringify(sealedWhole.has(kind) ? values : secret)
  return { sealed: await cipher.seal(text, sealingContext(actor.workspaceId, id)), fields: jsonb(readable) }
}

function hostsFor(kind: string, given: string[] | undefined, values: JsonObject, faults: Fault[]): string[] {
  const type = findType(kind)!
  if (given !== undefined) return readHosts(given, faults)
  const hosts = defaultHosts(type, values)
  if (hosts.length === 0) faults.push({ pointer: '/hosts', detail: 'is required: the hosts that may get the secret' })
  return hosts
}

function checkTestUrl(url: string | null | undefined, hosts: string[], faults: Fault[]): void {
  if (url === null || url === undefined) return
  const target = URL.canParse(url) ? new URL(url) : null
  if (target?.protocol !== 'https:' && target?.protocol !== 'http:') {
    faults.push({ pointer: '/test_url', detail: 'must be an http or https URL' })
    return
  }
  const port = Number(target.port) || (target.protocol === 'https:' ? 443 : 80)
  const isBound = hosts.some((host) => {
    const pattern = parseHostPattern(host)
    return pattern !== null && matchesHostPattern(pattern, target.hostname, port)
  })
  if (!isBound) faults.push({ pointer: '/test_url', detail: 'must be on a host that the credential is bound to' })
}

/** The pointer of what lets the secret go where it could not go before; null where nothing does. */
function leadsElsewhere(old: string[], hosts: string[], before: JsonObject, after: JsonObject): string | null {
  if (hosts.some((host) => !old.includes(host))) return '/hosts'
  return before['token_url'] === after['token_url'] ? null : '/fields/token_url'
}

const isSame = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)

function refuse(faults: Fault[]): void {
  if (faults.length > 0) throw new AppError('invalid', 'The credential cannot be stored like this.', { errors: faults })
}
