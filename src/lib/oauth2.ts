import { toBase64Url } from './base64url.ts'
import { isObject } from './json.ts'

/** The fields of a credential that authorization servers ask for (RFC 6749). */
type Fields = Readonly<Record<string, string>>

export interface Tokens {
  access_token: string
  refresh_token: string | null
  /** Null: the server does not say. */
  expires_in: number | null
}

/** What the authorization server answered instead of tokens. Its code is a word of RFC 6749, and all that is told of it. */
export class OAuthError extends Error {
  readonly code: string
  /** Only a person can help: the grant is gone. */
  readonly isFinal: boolean
  constructor(code: string) {
    super(`The authorization server answered ${code}.`)
    this.name = 'OAuthError'
    this.code = code
    this.isFinal = code === 'invalid_grant'
  }
}

/** Where the user goes to consent, with PKCE (RFC 7636). */
export async function authorizationUrl(
  fields: Fields,
  { state, verifier, redirectUri }: { state: string; verifier: string; redirectUri: string },
): Promise<string> {
  const url = new URL(fields['authorization_url'] ?? '')
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))
  const parameters = {
    response_type: 'code',
    client_id: fields['client_id'] ?? '',
    redirect_uri: redirectUri,
    ...(fields['scope'] && { scope: fields['scope'] }),
    ...(fields['audience'] && { audience: fields['audience'] }),
    state,
    code_challenge: toBase64Url(new Uint8Array(digest)),
    code_challenge_method: 'S256',
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return url.href
}

/** A request for tokens; `grant` names the grant and what belongs to it. */
export function tokenRequest(fields: Fields, grant: Readonly<Record<string, string>>): Request {
  const { client_id: id = '', client_secret: secret = '' } = fields
  const body = new URLSearchParams(grant)
  const headers = new Headers({ accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' })
  if (secret !== '' && fields['client_auth'] !== 'body') {
    // Both are form-encoded first (RFC 6749, 2.3.1), and so are ASCII.
    headers.set('authorization', `Basic ${btoa(`${formEncoded(id)}:${formEncoded(secret)}`)}`)
  } else {
    body.set('client_id', id)
    if (secret !== '') body.set('client_secret', secret)
  }
  if (grant['grant_type'] === 'client_credentials') {
    for (const name of ['scope', 'audience']) if (fields[name]) body.set(name, fields[name])
  }
  return new Request(fields['token_url'] ?? '', { method: 'POST', headers, body: body.toString() })
}

/** Throws OAuthError for whatever holds no token that can be sent. */
export async function readTokens(response: Response): Promise<Tokens> {
  const answer: unknown = await response.json().catch(() => null)
  const text = (name: string) => {
    const value = isObject(answer) ? answer[name] : null
    return typeof value === 'string' && value !== '' ? value : null
  }
  const accessToken = text('access_token')
  if (!response.ok || accessToken === null) {
    const code = text('error')
    throw new OAuthError(code !== null && /^[a-z_]{1,60}$/.test(code) ? code : `status ${response.status}`)
  }
  if (!/^[\x21-\x7e]+$/.test(accessToken)) throw new OAuthError('a token that no header can carry')
  const seconds = Number(isObject(answer) ? answer['expires_in'] : null)
  return {
    access_token: accessToken,
    refresh_token: text('refresh_token'),
    expires_in: Number.isFinite(seconds) && seconds > 0 ? Math.min(Math.floor(seconds), 31_536_000) : null,
  }
}

/** A token that says nothing of its end is renewed each hour, where that takes no consent. */
export const lifetimeOf = ({ expires_in, refresh_token }: Tokens, kind: string): number | null =>
  expires_in ?? (refresh_token !== null || kind === 'oauth2_client_credentials' ? 3600 : null)

const formEncoded = (text: string) => new URLSearchParams({ v: text }).toString().slice(2)
