import type { ServiceContext } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import type { StoredTest } from '../../db/tables/vault.table.ts'
import { EgressError } from '../../lib/egress-error.ts'
import { isObject } from '../../lib/json.ts'
import { OAuthError, readTokens, tokenRequest } from '../../lib/oauth2.ts'
import { findRow, openFields, type CredentialRow } from './credential.ts'
import { schemaOf, textsOf, withDefaults } from './fields.ts'

const timeoutMs = 10_000
const maxResponseBytes = 64 * 1024

type Outcome = Pick<StoredTest, 'ok' | 'detail'>
type Ask = (url: string, method?: string) => Promise<{ status: number; body: unknown }>
type Values = Record<string, string>

const base = (url: string | undefined, fallback: string) => (url ?? fallback).replace(/\/+$/, '')
/** Services that tell in the body whether they accept the token. */
const told = ({ status, body }: { status: number; body: unknown }): Outcome =>
  isObject(body) && body['ok'] === true
    ? { ok: true, detail: 'The service accepts it.' }
    : { ok: false, detail: `The service does not accept it (${status}${reasonOf(body)}).` }
const reasonOf = (body: unknown) => {
  const error = isObject(body) ? body['error'] : null
  return typeof error === 'string' && /^[a-z_]{1,60}$/.test(error) ? `, ${error}` : ''
}

/** The call that each service documents for this, where it has one. */
const ownTests: { readonly [kind: string]: (fields: Values, ask: Ask) => Promise<Outcome> } = {
  slack: async ({ api_url }, ask) => told(await ask(`${base(api_url, 'https://slack.com/api')}/auth.test`, 'POST')),
  telegram: async ({ api_url }, ask) => told(await ask(`${base(api_url, 'https://api.telegram.org')}/getMe`)),
  discord: async ({ api_url }, ask) =>
    byStatus((await ask(`${base(api_url, 'https://discord.com/api/v10')}/users/@me`)).status),
  async s3({ endpoint, bucket, path_style }, ask) {
    const url = new URL(base(endpoint, ''))
    const path =
      path_style === 'false' ? `${url.protocol}//${bucket}.${url.host}${url.pathname}` : `${url.href}/${bucket}`
    const { status } = await ask(path.replace(/(?<!:)\/\/+/g, '/'), 'HEAD')
    return status === 404 ? { ok: false, detail: `The bucket ${bucket} does not exist there.` } : byStatus(status)
  },
}

const byStatus = (status: number): Outcome => {
  if (status >= 200 && status < 300) return { ok: true, detail: `It was accepted (${status}).` }
  if (status === 401 || status === 403) return { ok: false, detail: `It was refused (${status}).` }
  return { ok: false, detail: `The server answered ${status}.` }
}

/** Uses the credential once, as it would be used, and keeps what came of it. */
export async function testCredential(ctx: ServiceContext, credential: string): Promise<StoredTest> {
  const row = await findRow(ctx, credential)
  const begunMs = ctx.clock.monotonicMs()
  const outcome = await tested(ctx, row).catch((error: unknown): Outcome => {
    if (error instanceof EgressError) return { ok: false, detail: error.message }
    throw error
  })
  const result: StoredTest = {
    ...outcome,
    tested_at: ctx.clock.now().toISOString(),
    latency_ms: outcome.ok === null ? null : Math.round(ctx.clock.monotonicMs() - begunMs),
  }
  await ctx.db
    .updateTable('credentials')
    .set({ last_test: jsonb(result) })
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('id', '=', row.id)
    // Of another secret it says nothing.
    .where('version', '=', row.version)
    .execute()
  return result
}

async function tested(ctx: ServiceContext, row: CredentialRow): Promise<Outcome> {
  const fields = await openFields(row, ctx.cipher)
  const values = textsOf(withDefaults(schemaOf(row.kind, row.field_schema), fields))
  const { workspaceId } = ctx.actor
  const options = { workspaceId, by: { tool: 'credential-test' }, timeoutMs, maxResponseBytes, maxRedirects: 0 }
  if (row.kind === 'smtp' || row.kind === 'postgres') {
    if (!ctx.signIn)
      return { ok: null, detail: `Type ${row.kind} is not testable on this runtime: it opens no sockets.` }
    await ctx.signIn(row.kind, values, { workspaceId, hosts: row.hosts })
    return { ok: true, detail: 'Signed in.' }
  }
  if (row.kind === 'custom') return { ok: null, detail: 'A credential of type custom is sent nowhere by itself.' }

  const ask: Ask = async (url, method = 'GET') => {
    const response = await ctx.egress(new Request(url, { method }), { ...options, credential: row.id })
    const text = await response.text()
    return { status: response.status, body: parsed(text) }
  }
  const own = Object.hasOwn(ownTests, row.kind) ? ownTests[row.kind] : undefined
  if (own && row.test_url === null) return own(values, ask)
  if (row.test_url !== null) return byStatus((await ask(row.test_url)).status)
  if (row.kind !== 'oauth2_client_credentials')
    return { ok: null, detail: 'Nothing says where to test it: set test_url to an address that needs it.' }
  try {
    const request = tokenRequest(values, { grant_type: 'client_credentials' })
    await readTokens(await ctx.egress(request, { ...options, secrets: false, confidential: true }))
    return { ok: true, detail: 'The authorization server gives a token.' }
  } catch (error) {
    if (error instanceof OAuthError) return { ok: false, detail: error.message }
    throw error
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
