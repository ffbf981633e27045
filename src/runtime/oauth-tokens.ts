import { sql, type Kysely } from 'kysely'
import type { Cipher, Egress, Log, Runtime } from '../context.ts'
import type { Database } from '../db/database.ts'
import { scopedTo } from '../db/scope.ts'
import { EgressError } from '../lib/egress-error.ts'
import { lifetimeOf, OAuthError, readTokens, tokenRequest } from '../lib/oauth2.ts'
import { tokensContext } from '../lib/sealing-context.ts'
import type { UsableCredential } from './egress/secrets.ts'

export type GetAccessToken = (workspaceId: string, credential: UsableCredential, signal: AbortSignal) => Promise<string>

interface Parts {
  db: Kysely<Database>
  cipher: Cipher
  egress: Egress
  defer: Runtime['defer']
  log: Log
}
interface Stored {
  access_token: string
  refresh_token: string | null
}
interface TokenChange {
  sealed_tokens: string
  token_expires_at: ReturnType<typeof expiryIn>
  connection?: 'connected'
}

/** Longer than the authorization server is given to answer, by what a database may be away. */
const leaseSeconds = 20
const requestLimits = {
  secrets: false as const,
  confidential: true as const,
  timeoutMs: 10_000,
  maxResponseBytes: 64 * 1024,
  maxRedirects: 0,
}
/** A token is renewed this long before it ends, so that it does not end on its way. */
const marginSeconds = 60
const firstPauseMs = 25
const longestPauseMs = 400

/**
 * The access token of a credential, asked for or refreshed where it has to be. Of all processes one asks: whoever takes the
 * lease in the row, while the others watch the row. No connection of the database waits meanwhile, and nothing is held that a
 * crash would leave behind. Tokens are replaced together, by the holder of the lease alone: a refresh token that was
 * rotated is never separated from its access token.
 */
export function createAccessTokens({ db, cipher, egress, defer, log }: Parts): GetAccessToken {
  return async (workspaceId, credential, signal) => {
    const rows = scopedTo(db, workspaceId)
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      signal.throwIfAborted()
      const row = await rows
        .selectFrom('credentials')
        .select(['sealed_tokens', 'connection'])
        .select(
          sql<boolean>`coalesce(token_expires_at > app_now() + ${marginSeconds}::integer * interval '1 second', true)`.as(
            'is_fresh',
          ),
        )
        .where('workspace_id', '=', workspaceId)
        .where('id', '=', credential.id)
        .executeTakeFirst()
      if (!row) throw refused(`There is no credential "${credential.slug}".`)
      const context = tokensContext(workspaceId, credential.id)
      const stored =
        row.sealed_tokens === null ? null : (JSON.parse(await cipher.open(row.sealed_tokens, context)) as Stored)
      if (stored && row.is_fresh) return stored.access_token
      const grant = grantOf(credential, stored, row.connection)

      const lease = crypto.randomUUID()
      const { rows: taken } = await sql<{ sealed_tokens: string | null }>`
        update credentials set token_lease = ${lease}::text::uuid,
          token_lease_until = app_now() + ${leaseSeconds}::integer * interval '1 second'
        where workspace_id = ${workspaceId}::text::uuid and id = ${credential.id}::text::uuid
          and coalesce(token_lease_until <= app_now(), true)
          and sealed_tokens is not distinct from ${row.sealed_tokens}::text
        returning sealed_tokens`.execute(rows)
      if (taken.length === 0) {
        // Somebody else asks, or has asked since.
        await pause(pauseMs, signal)
        continue
      }
      const asking = ask(workspaceId, credential, { stored, sealed: row.sealed_tokens }, grant, lease)
      // Whoever wanted the token may give up; what the server has given is stored all the same.
      defer(asking.catch(() => {}))
      return await asking
    }
  }

  async function ask(
    workspaceId: string,
    credential: UsableCredential,
    known: { stored: Stored | null; sealed: string | null },
    grant: Record<string, string>,
    lease: string,
  ): Promise<string> {
    const untilMs = performance.now() + leaseSeconds * 1000
    let next: Stored
    let change: TokenChange
    try {
      const request = tokenRequest(credential.fields, grant)
      const tokens = await readTokens(await egress(request, { workspaceId, ...requestLimits }))
      next = {
        access_token: tokens.access_token,
        refresh_token: tokens.refresh_token ?? known.stored?.refresh_token ?? null,
      }
      change = {
        sealed_tokens: await cipher.seal(JSON.stringify(next), tokensContext(workspaceId, credential.id)),
        token_expires_at: expiryIn(lifetimeOf({ ...tokens, refresh_token: next.refresh_token }, credential.kind)),
        ...(credential.kind === 'oauth2_authorization_code' && { connection: 'connected' as const }),
      }
    } catch (error) {
      const isFinal = error instanceof OAuthError && error.isFinal && credential.kind === 'oauth2_authorization_code'
      await release(workspaceId, credential.id, lease, isFinal ? { connection: 'reauthorize' } : {}).catch(
        (failure: unknown) =>
          log.warn('The lease of a token could not be given back; it ends by itself.', { error: failure }),
      )
      if (error instanceof EgressError) throw error
      const detail = error instanceof OAuthError ? error.message : 'The authorization server gave no token.'
      throw new EgressError(
        isFinal ? 'egress-refused' : 'egress-failed',
        `Credential "${credential.slug}": ${detail}`,
        {
          cause: error,
          ...(isFinal && { reason: 'credential' }),
        },
      )
    }
    await keep(workspaceId, credential.id, lease, { change, before: known.sealed, untilMs })
    return next.access_token
  }

  /**
   * Stores what the server has given, which it may give once: where the database is away it is tried until the lease ends,
   * and nobody else asks meanwhile with a refresh token that is no longer good.
   */
  async function keep(
    workspaceId: string,
    id: string,
    lease: string,
    { change, before, untilMs }: { change: TokenChange; before: string | null; untilMs: number },
  ): Promise<void> {
    const about = { workspace_id: workspaceId, credential_id: id }
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      try {
        if (await release(workspaceId, id, lease, change)) return
        // A write whose answer was lost, or a holder that came after the lease and left without tokens.
        const { rows } = await sql<{ is_ours: boolean }>`
          select sealed_tokens is not distinct from ${change.sealed_tokens}::text as is_ours from credentials
          where workspace_id = ${workspaceId}::text::uuid and id = ${id}::text::uuid`.execute(scopedTo(db, workspaceId))
        if (rows[0]?.is_ours) return
        if (before !== null && (await release(workspaceId, id, null, change, before))) return
        log.error('Tokens of a credential were not kept: it was changed meanwhile, or has newer ones.', about)
        return
      } catch (error) {
        if (performance.now() + pauseMs > untilMs) {
          log.error('Tokens of a credential could not be stored; it may need consent anew.', { ...about, error })
          throw error
        }
        await new Promise((resolve) => setTimeout(resolve, pauseMs))
      }
    }
  }

  /**
   * What is written goes in only while the lease is ours: a later holder has newer tokens. Or, without a lease, while the
   * tokens are still the ones from before. False: neither is so.
   */
  async function release(
    workspaceId: string,
    id: string,
    lease: string | null,
    change: Partial<TokenChange> | { connection: 'reauthorize' },
    before?: string,
  ): Promise<boolean> {
    const { numUpdatedRows } = await scopedTo(db, workspaceId)
      .updateTable('credentials')
      .set({ ...change, token_lease: null, token_lease_until: null })
      .where('workspace_id', '=', workspaceId)
      .where('id', '=', id)
      .where('token_lease', lease === null ? 'is' : '=', lease)
      .$if(before !== undefined, (query) => query.where('sealed_tokens', '=', before!))
      .executeTakeFirstOrThrow()
    return numUpdatedRows > 0
  }
}

const expiryIn = (seconds: number | null) =>
  seconds === null ? null : sql<Date>`app_now() + ${seconds}::integer * interval '1 second'`

function grantOf(
  credential: UsableCredential,
  stored: Stored | null,
  connection: string | null,
): Record<string, string> {
  if (credential.kind === 'oauth2_client_credentials') return { grant_type: 'client_credentials' }
  if (stored?.refresh_token && connection !== 'reauthorize')
    return { grant_type: 'refresh_token', refresh_token: stored.refresh_token }
  throw refused(
    `The credential "${credential.slug}" has no consent ${stored ? 'any more' : 'yet'}: POST /api/credentials/${credential.slug}/authorize gives the address to consent at.`,
  )
}

const refused = (message: string) => new EgressError('egress-refused', message, { reason: 'credential' })

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop)
      resolve()
    }, ms)
    signal.addEventListener('abort', stop, { once: true })
  })
}
