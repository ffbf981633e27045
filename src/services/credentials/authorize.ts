import { sql } from 'kysely'
import type { Actor, Runtime, ServiceContext } from '../../context.ts'
import { scopedTo } from '../../db/scope.ts'
import { EgressError } from '../../lib/egress-error.ts'
import { AppError } from '../../lib/errors.ts'
import { authorizationUrl, lifetimeOf, OAuthError, readTokens, tokenRequest } from '../../lib/oauth2.ts'
import { tokensContext } from '../../lib/sealing-context.ts'
import { recordAudit } from '../audit/record.ts'
import { openToken, signToken, spendToken } from '../signing/tokens.ts'
import { findRow, openFields } from './credential.ts'
import { textsOf } from './fields.ts'

const ttlSeconds = 600
const timeoutMs = 10_000

/** A type, not an interface, so that it is JSON. */
type State = {
  workspace_id: string
  credential_id: string
  /** Of the credential: consent to one client is none to another. */
  version: number
  by: { kind: Actor['kind']; id: string }
}

const callbackUrl = ({ config }: Pick<Runtime, 'config'>) =>
  `${config.apiUrl.replace(/\/+$/, '')}/api/credentials/oauth/callback`

/** Only this installation can say it, and only to whoever has the state: nothing is stored meanwhile. */
async function verifierOf({ cipher }: Pick<Runtime, 'cipher'>, state: string): Promise<string> {
  return (await cipher.sign(state, 'oauth-pkce')).split('.')[1]!
}

/** Where a person consents, for ten minutes. */
export async function startAuthorization(
  ctx: ServiceContext,
  credential: string,
): Promise<{ authorization_url: string; redirect_uri: string; expires_at: string }> {
  const row = await findRow(ctx, credential)
  if (row.kind !== 'oauth2_authorization_code')
    throw new AppError('conflict', `A credential of type ${row.kind} needs nobody's consent.`)
  const { id, kind } = ctx.actor
  const state: State = {
    workspace_id: row.workspace_id,
    credential_id: row.id,
    version: row.version,
    by: { kind, id },
  }
  const token = await signToken(ctx, 'oauth-state', state, ttlSeconds)
  const redirectUri = callbackUrl(ctx)
  const fields = textsOf(await openFields(row, ctx.cipher))
  const verifier = await verifierOf(ctx, token)
  return {
    authorization_url: await authorizationUrl(fields, { state: token, verifier, redirectUri }),
    redirect_uri: redirectUri,
    expires_at: new Date(ctx.clock.now().getTime() + ttlSeconds * 1000).toISOString(),
  }
}

export interface Callback {
  state?: string | undefined
  code?: string | undefined
  error?: string | undefined
}

/** Of whoever comes back from the authorization server: the state is the proof, and is good once. Answers the credential's name. */
export async function completeAuthorization(runtime: Runtime, { state = '', code, error }: Callback): Promise<string> {
  // Safe: `startAuthorization` signs nothing else for this purpose.
  const opened = (await openToken(runtime, 'oauth-state', state)) as State | null
  if (opened === null) throw new AppError('not-found', 'This address is not valid, or not any more.')
  const db = scopedTo(runtime.db, opened.workspace_id)
  if ((await spendToken({ ...runtime, db }, 'oauth-state', state)) === null)
    throw new AppError('not-found', 'This address was used before.')
  const actor: Actor = { ...opened.by, workspaceId: opened.workspace_id, permissions: new Set() }
  const row = await findRow({ db, actor }, opened.credential_id)
  if (row.version !== opened.version)
    throw new AppError('conflict', 'The credential was changed meanwhile: consent to it anew.')
  if (code === undefined) {
    const reason = error !== undefined && /^[a-z_]{1,60}$/.test(error) ? error : 'no code'
    throw new AppError('conflict', `The authorization server came back with ${reason}.`)
  }

  const fields = textsOf(await openFields(row, runtime.cipher))
  const request = tokenRequest(fields, {
    grant_type: 'authorization_code',
    code,
    redirect_uri: callbackUrl(runtime),
    code_verifier: await verifierOf(runtime, state),
  })
  const options = { workspaceId: row.workspace_id, secrets: false as const, confidential: true as const, timeoutMs }
  const tokens = await runtime
    .egress(request, { ...options, maxResponseBytes: 64 * 1024, maxRedirects: 0 })
    .then(readTokens)
    .catch((failure: unknown) => {
      if (failure instanceof OAuthError || failure instanceof EgressError)
        throw new AppError('upstream-failed', failure.message, { cause: failure })
      throw failure
    })
  const { access_token, refresh_token } = tokens
  const lifetime = lifetimeOf(tokens, row.kind)
  const sealed = await runtime.cipher.seal(
    JSON.stringify({ access_token, refresh_token }),
    tokensContext(row.workspace_id, row.id),
  )
  await db.transaction().execute(async (tx) => {
    const { numUpdatedRows } = await tx
      .updateTable('credentials')
      .set({
        sealed_tokens: sealed,
        token_expires_at: lifetime === null ? null : sql<Date>`app_now() + ${lifetime}::integer * interval '1 second'`,
        connection: 'connected',
        // Whoever was refreshing the former consent writes nothing over this one.
        token_lease: null,
        token_lease_until: null,
      })
      .where('workspace_id', '=', row.workspace_id)
      .where('id', '=', row.id)
      .where('version', '=', row.version)
      .executeTakeFirstOrThrow()
    if (numUpdatedRows === 0n)
      throw new AppError('conflict', 'The credential was changed meanwhile: consent to it anew.')
    const target = { type: 'credential', id: row.id }
    await recordAudit(tx, { actor }, { action: 'credential.connected', target, after: { slug: row.slug } })
  })
  return row.name
}
