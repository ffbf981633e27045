import { sql } from 'kysely'
import type { Runtime, TickReport } from '../../context.ts'
import { fromBase64Url, toBase64Url } from '../../lib/base64url.ts'
import type { Json, JsonObject } from '../../lib/json.ts'

/** Good as often as they are shown, until they end. */
type ReusablePurpose = 'signed-address' | 'approval-link' | 'widget-session'
/** Good once, by `spendToken`. Their payload names the workspace that they belong to. */
type SingleUsePurpose = 'oauth-state'
/** What a token is for. Each purpose has keys of its own, so a token of one is nothing to another. */
export type TokenPurpose = ReusablePurpose | SingleUsePurpose

type Payload<P extends TokenPurpose> = P extends SingleUsePurpose ? JsonObject & { workspace_id: string } : Json
type Signer = Pick<Runtime, 'cipher' | 'clock' | 'random'>
type Reader = Pick<Runtime, 'cipher' | 'clock'>

/** What a token says, once it is verified. */
export interface OpenedToken {
  id: string
  expiresAt: Date
  payload: Json
}

/** Ours have a few hundred characters; nothing longer is worth a look. */
const longest = 4_000
const encoder = new TextEncoder()

/**
 * `<base64url of [end, id, payload]>.<key id>.<HMAC>`: signed, not sealed, so a payload holds nothing that its bearer must
 * not read. `about` is signed too but stands elsewhere, such as the address that the token opens.
 */
export async function signToken<P extends TokenPurpose>(
  { cipher, clock, random }: Signer,
  purpose: P,
  payload: Payload<P>,
  ttlSeconds: number,
  about = '',
): Promise<string> {
  const end = clock.now().getTime() + Math.floor(ttlSeconds * 1000)
  const body = toBase64Url(encoder.encode(JSON.stringify([end, toBase64Url(random(12)), payload])))
  return `${body}.${await cipher.sign(signed(body, about), keyName(purpose))}`
}

/** Null for whatever is no token of ours for this purpose and `about`, or not one any more. */
export async function readToken(
  { cipher, clock }: Reader,
  purpose: TokenPurpose,
  token: string,
  about = '',
): Promise<OpenedToken | null> {
  const split = token.indexOf('.')
  if (split === -1 || token.length > longest) return null
  const body = token.slice(0, split)
  // Web Crypto compares in constant time. What follows was written by `signToken`, so it is read without a doubt.
  if (!(await cipher.verify(signed(body, about), token.slice(split + 1), keyName(purpose)))) return null
  const [end, id, payload] = JSON.parse(new TextDecoder().decode(fromBase64Url(body)!)) as [number, string, Json]
  return end > clock.now().getTime() ? { id, expiresAt: new Date(end), payload } : null
}

/** The payload; null for what is forged, expired, or for another purpose. */
export async function openToken(
  runtime: Reader,
  purpose: TokenPurpose,
  token: string,
  about = '',
): Promise<Json | null> {
  return (await readToken(runtime, purpose, token, about))?.payload ?? null
}

/**
 * The payload for exactly one of any number of callers. With a transaction as `db` the token is spent only if that commits.
 * Its text can be written in several ways, so what is remembered is its id.
 */
export async function spendToken<P extends SingleUsePurpose>(
  runtime: Reader & Pick<Runtime, 'db'>,
  purpose: P,
  token: string,
  about = '',
): Promise<Payload<P> | null> {
  const opened = await readToken(runtime, purpose, token, about)
  if (opened === null) return null
  // Safe: `signToken` takes no other payload for such a purpose.
  const payload = opened.payload as Payload<P> & { workspace_id: string }
  const spent = await runtime.db
    .insertInto('spent_tokens')
    .values({ id: opened.id, workspace_id: payload.workspace_id, expires_at: opened.expiresAt })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .returning('id')
    .executeTakeFirst()
  return spent ? payload : null
}

const forgottenAtOnce = 1_000

/** Forgets what has ended anyway: an hour later, because the clocks that say so may differ. */
export async function purgeSpentTokens({ db }: Pick<Runtime, 'db'>): Promise<TickReport> {
  const { numAffectedRows } = await sql`
    delete from spent_tokens where id in (
      select id from spent_tokens where expires_at < app_now() - interval '1 hour' limit ${forgottenAtOnce}
    )`.execute(db)
  const done = Number(numAffectedRows ?? 0)
  return { done, more: done >= forgottenAtOnce }
}

const signed = (body: string, about: string) => `${body}\n${about}`
const keyName = (purpose: TokenPurpose) => `token ${purpose}`
