import type { App } from '../../src/app.ts'
import type { IdentityProvider, TokenOptions } from './jwks-server.ts'

type Fields = Record<string, string>
/** Requests as the bearer of one token. */
export interface UserClient {
  token: string
  request(method: string, path: string, body?: unknown, headers?: Fields): Promise<Response>
  get(path: string, headers?: Fields): Promise<Response>
  post(path: string, body?: unknown, headers?: Fields): Promise<Response>
  /** What `/api/auth/me` says. */
  me(headers?: Fields): Promise<{ user: { id: string }; workspace: { id: string; slug: string }; [key: string]: any }>
}

/** A new user unless `claims.sub` names one. */
export async function signInUser(
  { app }: { app: App },
  provider: IdentityProvider,
  { claims, ...options }: TokenOptions = {},
): Promise<UserClient> {
  const token = await provider.token({ ...options, claims: { sub: `user-${crypto.randomUUID()}`, ...claims } })
  const request: UserClient['request'] = (method, path, body, headers = {}) =>
    app.request(path, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
  return {
    token,
    request,
    get: (path, headers) => request('GET', path, undefined, headers),
    post: (path, body, headers) => request('POST', path, body, headers),
    me: async (headers) => (await request('GET', '/api/auth/me', undefined, headers)).json() as never,
  }
}
