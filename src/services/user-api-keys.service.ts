import { sql, type Selectable } from 'kysely'
import type { ServiceContext } from '../context.ts'
import { jsonb } from '../db/json.ts'
import { newestFirst } from '../db/keyset.ts'
import type { StoredTest, UserApiKeysTable } from '../db/tables/vault.table.ts'
import { EgressError } from '../lib/egress-error.ts'
import { AppError, type Fault } from '../lib/errors.ts'
import { entityTag, requireMatch } from '../lib/etag.ts'
import { uuidv7 } from '../lib/ids.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../lib/pagination.ts'
import { userKeyContext } from '../lib/sealing-context.ts'
import { changesOf, recordAudit } from './audit/record.ts'
import { ownBaseUrl } from './models/own-keys.ts'
import { findProvider, type Provider } from './models/providers.ts'

/** What is shown of a provider's key that the workspace has brought along. */
export interface UserApiKey {
  id: string
  provider: string
  name: string
  base_url: string | null
  /** `…4f2a` */
  hint: string
  version: number
  last_test: StoredTest | null
  last_used_at: string | null
  created_at: string
  updated_at: string
}
export interface UserApiKeyInput {
  api_key: string
  name?: string | undefined
  base_url?: string | undefined
}

const timeoutMs = 15_000
const maxResponseBytes = 4 * 1024 * 1024

export async function listUserApiKeys(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  page: PageRequest,
): Promise<Page<UserApiKey>> {
  const query = db.selectFrom('user_api_keys').selectAll().where('workspace_id', '=', actor.workspaceId)
  return toPage(await newestFirst(query, page).execute(), page.limit, byCreation, toUserApiKey)
}

export async function getUserApiKey(ctx: Pick<ServiceContext, 'db' | 'actor'>, provider: string): Promise<UserApiKey> {
  return toUserApiKey(await findRow(ctx, provider))
}

/** Stores the key once the provider has accepted it; of two at a time the later one stays. */
export async function putUserApiKey(
  ctx: ServiceContext,
  providerId: string,
  input: UserApiKeyInput,
  ifMatch: string | null,
): Promise<{ key: UserApiKey; isNew: boolean }> {
  const provider = providerOf(providerId)
  const faults = faultsOf(provider, input)
  if (faults.length > 0) throw new AppError('invalid', 'The key cannot be stored like this.', { errors: faults })
  const known = await findRow(ctx, providerId).catch(ifMissing)
  requireTag(ifMatch, known)
  const { workspaceId } = ctx.actor
  const test = await ask(ctx, provider, input.api_key, input.base_url ?? null)
  if (!test.ok) {
    const errors = [{ pointer: '/api_key', detail: test.detail }]
    throw new AppError(test.isRefused ? 'invalid' : 'upstream-failed', test.detail, test.isRefused ? { errors } : {})
  }
  return ctx.db.transaction().execute(async (tx) => {
    const row = await tx
      .selectFrom('user_api_keys')
      .selectAll()
      .where('workspace_id', '=', workspaceId)
      .where('provider', '=', providerId)
      .forUpdate()
      .executeTakeFirst()
    requireTag(ifMatch, row ?? null)
    const id = row?.id ?? uuidv7()
    const values = {
      name: input.name ?? row?.name ?? provider.name,
      base_url: input.base_url ?? null,
      sealed: await ctx.cipher.seal(input.api_key, userKeyContext(workspaceId, id)),
      hint: `…${input.api_key.slice(-4)}`,
      last_test: jsonb(stored(test, ctx)),
    }
    const written = row
      ? await tx
          .updateTable('user_api_keys')
          .set({ ...values, version: row.version + 1, updated_at: sql<Date>`app_now()` })
          .where('workspace_id', '=', workspaceId)
          .where('id', '=', id)
          .returningAll()
          .executeTakeFirstOrThrow()
      : await tx
          .insertInto('user_api_keys')
          .values({ ...values, id, workspace_id: workspaceId, provider: providerId })
          .onConflict((conflict) => conflict.columns(['workspace_id', 'provider']).doNothing())
          .returningAll()
          .executeTakeFirst()
    if (!written) throw new AppError('conflict', `A key for ${providerId} was stored at the same time. Try again.`)
    const key = toUserApiKey(written)
    await recordAudit(tx, ctx, {
      action: row ? 'user_api_key.replaced' : 'user_api_key.created',
      target: { type: 'user_api_key', id },
      ...(row ? changesOf(audited(toUserApiKey(row)), audited(key)) : { after: audited(key) }),
    })
    return { key, isNew: !row }
  })
}

export async function deleteUserApiKey(ctx: ServiceContext, provider: string, ifMatch: string | null): Promise<void> {
  await ctx.db.transaction().execute(async (tx) => {
    const row = await findRow({ ...ctx, db: tx }, provider, { lock: true })
    const key = toUserApiKey(row)
    requireMatch(ifMatch, userApiKeyTag(key))
    await tx
      .deleteFrom('user_api_keys')
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('id', '=', row.id)
      .execute()
    const target = { type: 'user_api_key', id: row.id }
    await recordAudit(tx, ctx, { action: 'user_api_key.deleted', target, before: audited(key) })
  })
}

/** Asks the provider with the key as it is stored. */
export async function testUserApiKey(ctx: ServiceContext, providerId: string): Promise<StoredTest> {
  const row = await findRow(ctx, providerId)
  const apiKey = await ctx.cipher.open(row.sealed, userKeyContext(row.workspace_id, row.id))
  const result = stored(await ask(ctx, providerOf(providerId), apiKey, row.base_url), ctx)
  await ctx.db
    .updateTable('user_api_keys')
    .set({ last_test: jsonb(result) })
    .where('workspace_id', '=', row.workspace_id)
    .where('id', '=', row.id)
    .where('version', '=', row.version)
    .execute()
  return result
}

export const userApiKeyTag = ({ last_test, last_used_at, ...state }: UserApiKey): string =>
  entityTag(state, [last_test, last_used_at])

interface Asked {
  ok: boolean
  detail: string
  /** The provider knows the key not, or lets it do nothing. */
  isRefused: boolean
  latencyMs: number
}

/** One real call in the form of the provider that costs nothing and that no call without a good key passes. */
async function ask(ctx: ServiceContext, provider: Provider, apiKey: string, baseUrl: string | null): Promise<Asked> {
  const begunMs = ctx.clock.monotonicMs()
  const done = (ok: boolean, detail: string, isRefused = false): Asked => ({
    ok,
    detail,
    isRefused,
    latencyMs: Math.round(ctx.clock.monotonicMs() - begunMs),
  })
  const base = (ownBaseUrl(provider, ctx.config, baseUrl) ?? '').replace(/\/+$/, '')
  const { path, headers } = provider.probe(apiKey)
  try {
    const { workspaceId } = ctx.actor
    const response = await ctx.egress(new Request(`${base}${path}`, { headers }), {
      workspaceId,
      secrets: false,
      confidential: true,
      timeoutMs,
      maxResponseBytes,
      maxRedirects: 0,
    })
    await response.body?.cancel()
    const { status } = response
    if (response.ok) return done(true, `${provider.name} accepts the key.`)
    // Google answers 400 to a key that it does not know.
    const isRefused = status === 401 || status === 403 || (status === 400 && provider.id === 'google')
    return done(false, `${provider.name} ${isRefused ? 'refuses the key' : 'answers'} (${status}).`, isRefused)
  } catch (error) {
    if (error instanceof EgressError) return done(false, error.message, error.kind === 'egress-refused')
    throw error
  }
}

const stored = ({ ok, detail, latencyMs }: Asked, { clock }: ServiceContext): StoredTest => ({
  ok,
  detail,
  tested_at: clock.now().toISOString(),
  latency_ms: latencyMs,
})

function providerOf(id: string): Provider {
  const provider = findProvider(id)
  if (!provider) throw missing(id)
  return provider
}

function faultsOf({ id }: Provider, { api_key, base_url }: UserApiKeyInput): Fault[] {
  const faults: Fault[] = []
  if (!/^[\x21-\x7e]+$/.test(api_key))
    faults.push({ pointer: '/api_key', detail: 'must be visible ASCII without blanks' })
  if (id === 'openai-compatible') {
    if (base_url === undefined) faults.push({ pointer: '/base_url', detail: 'is required for openai-compatible' })
  } else if (base_url !== undefined) {
    faults.push({ pointer: '/base_url', detail: 'is for openai-compatible only' })
  }
  return faults
}

async function findRow(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  provider: string,
  { lock = false } = {},
): Promise<Selectable<UserApiKeysTable>> {
  const row = await db
    .selectFrom('user_api_keys')
    .selectAll()
    .where('workspace_id', '=', actor.workspaceId)
    .where('provider', '=', provider)
    .$if(lock, (query) => query.forUpdate())
    .executeTakeFirst()
  if (!row) throw missing(provider)
  return row
}

const missing = (provider: string) => new AppError('not-found', `There is no key for ${provider}.`)

function ifMissing(error: unknown): null {
  if (error instanceof AppError && error.kind === 'not-found') return null
  throw error
}

/** Who names a version of a key that is not there has seen one that is gone. */
function requireTag(ifMatch: string | null, row: Selectable<UserApiKeysTable> | null): void {
  if (row) requireMatch(ifMatch, userApiKeyTag(toUserApiKey(row)))
  else if (ifMatch !== null) throw new AppError('precondition-failed', 'There is no such key any more.')
}

const audited = ({ provider, name, base_url, hint, version }: UserApiKey) => ({
  provider,
  name,
  base_url,
  hint,
  version,
})

const toUserApiKey = (row: Selectable<UserApiKeysTable>): UserApiKey => ({
  id: row.id,
  provider: row.provider,
  name: row.name,
  base_url: row.base_url,
  hint: row.hint,
  version: row.version,
  last_test: row.last_test,
  last_used_at: row.last_used_at?.toISOString() ?? null,
  created_at: row.created_at.toISOString(),
  updated_at: row.updated_at.toISOString(),
})
