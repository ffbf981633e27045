import { sql } from 'kysely'
import { expect, onTestFinished, test } from 'vitest'
import { createTestApp, type Client } from '../../support/app.ts'
import { loopbackServer } from '../../support/loopback-server.ts'

const app = await createTestApp()
const json = async (response: Response) => (await response.json()) as { [key: string]: any }

/** An authorization server that rotates its refresh tokens and takes each of them once. */
async function authorizationServer({ expiresIn = 3600 } = {}) {
  let issued = 0
  let valid: string | null = null
  let release: (() => void) | null = null
  const held: (() => void)[] = []
  const codes = new Map<string, string>()
  const server = await loopbackServer((_, response) => {
    const form = new URLSearchParams(server.seen.at(-1)!.body)
    const answer = () => {
      const grant = form.get('grant_type')
      const good =
        grant === 'client_credentials' ||
        (grant === 'refresh_token' && form.get('refresh_token') === valid) ||
        (grant === 'authorization_code' && codes.get(form.get('code') ?? '') === form.get('code_verifier'))
      if (!good) return void response.writeHead(400).end('{"error":"invalid_grant"}')
      issued++
      valid = `refresh-${issued}`
      response.end(
        JSON.stringify({
          access_token: `access-${issued}`,
          token_type: 'Bearer',
          expires_in: expiresIn,
          ...(grant !== 'client_credentials' && { refresh_token: valid }),
        }),
      )
    }
    if (release) held.push(answer)
    else answer()
  })
  return {
    ...server,
    url: `http://127.0.0.1:${server.port}`,
    codes,
    hold: () => (release = () => held.splice(0).forEach((go) => go())),
    release() {
      const go = release
      release = null
      go?.()
    },
    held,
    grants: () => server.seen.map(({ body }) => new URLSearchParams(body).get('grant_type')),
  }
}

async function set(kind: string, options?: { expiresIn?: number }) {
  const auth = await authorizationServer(options)
  const api = await loopbackServer((_, response) => response.end('ok'))
  const client = await app.signIn()
  const made = await client.post('/api/credentials', {
    slug: 'svc',
    kind,
    hosts: [`127.0.0.1:${api.port}`],
    fields: {
      ...(kind === 'oauth2_authorization_code' && { authorization_url: 'https://login.example.com/authorize?a=b' }),
      token_url: `${auth.url}/token`,
      client_id: 'client',
      client_secret: 'client-secret',
      scope: 'read write',
    },
  })
  expect(made.status).toBe(201)
  const use = (runtime = app.runtime) =>
    runtime.egress(new Request(`http://127.0.0.1:${api.port}/`), {
      workspaceId: client.workspaceId,
      credential: 'svc',
    })
  return { auth, api, client, use }
}

/** As a person's browser goes there and back. */
async function consent(client: Client, auth: Awaited<ReturnType<typeof authorizationServer>>) {
  const started = await json(await client.post('/api/credentials/svc/authorize'))
  const url = new URL(started['authorization_url'])
  const state = url.searchParams.get('state')!
  const back = (query: Record<string, string>) =>
    app.app.request(`/api/credentials/oauth/callback?${new URLSearchParams(query).toString()}`)
  return { started, url, state, back, auth }
}

/** The verifier that belongs to a challenge is whatever the server is sent; it is compared by its hash. */
async function acceptCode(auth: Awaited<ReturnType<typeof authorizationServer>>, code: string, challenge: string) {
  // The first attempt shows the verifier, which is checked here as the server would check it.
  const verifier = new URLSearchParams(auth.seen.at(-1)!.body).get('code_verifier')!
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))
  expect(Buffer.from(digest).toString('base64url')).toBe(challenge)
  auth.codes.set(code, verifier)
}

test('client credentials: a token is asked for once and sent to the bound host alone', async () => {
  const { auth, api, client, use } = await set('oauth2_client_credentials')
  const elsewhere = { workspaceId: client.workspaceId, credential: 'svc' }
  for (const url of ['http://localhost:1/', 'https://10.0.0.1/'])
    await expect(app.runtime.egress(new Request(url), elsewhere)).rejects.toMatchObject({ kind: 'egress-refused' })
  expect(auth.seen, 'no token is asked for a host that it is not for').toEqual([])
  await use()
  await use()
  expect(auth.grants()).toEqual(['client_credentials'])
  expect(auth.seen[0]!.headers.authorization).toBe(`Basic ${btoa('client:client-secret')}`)
  expect(api.seen.map(({ headers }) => headers.authorization)).toEqual(['Bearer access-1', 'Bearer access-1'])
  const row = await app.db
    .selectFrom('credentials')
    .selectAll()
    .where('workspace_id', '=', client.workspaceId)
    .executeTakeFirstOrThrow()
  expect(JSON.stringify(row)).not.toMatch(/access-1|client-secret/)
})

test('of any number of processes that find no token one asks, and the others send what it got', async () => {
  const { auth, api, use } = await set('oauth2_client_credentials')
  const other = await createTestApp({ database: app.database })
  auth.hold()
  const uses = [use(), use(other.runtime), use(), use(other.runtime)]
  await expect.poll(() => auth.held.length).toBe(1)
  auth.release()
  await Promise.all(uses)
  expect(auth.grants()).toEqual(['client_credentials'])
  expect(new Set(api.seen.map(({ headers }) => headers.authorization))).toEqual(new Set(['Bearer access-1']))
})

test('authorization code: consent by a signed state and PKCE, then refreshed by itself with tokens that rotate', async () => {
  const { auth, client, use } = await set('oauth2_authorization_code', { expiresIn: 30 })
  await expect(use()).rejects.toMatchObject({ kind: 'egress-refused', message: /no consent yet/ })

  const first = await consent(client, auth)
  expect(Object.fromEntries(first.url.searchParams)).toMatchObject({
    a: 'b',
    response_type: 'code',
    client_id: 'client',
    scope: 'read write',
    redirect_uri: first.started['redirect_uri'],
    code_challenge_method: 'S256',
  })
  // The code is not one that the server gave: it is refused, and the state is spent all the same.
  expect((await first.back({ state: first.state, code: 'a-code' })).status).toBe(502)
  await acceptCode(auth, 'a-code', first.url.searchParams.get('code_challenge')!)
  expect((await first.back({ state: first.state, code: 'a-code' })).status).toBe(404)
  expect((await first.back({ state: `${first.state}x`, code: 'a-code' })).status).toBe(404)

  const second = await consent(client, auth)
  expect((await second.back({ state: second.state, error: 'access_denied' })).status).toBe(409)
  const third = await consent(client, auth)
  await third.back({ state: third.state, code: 'probe' })
  await acceptCode(auth, 'good', third.url.searchParams.get('code_challenge')!)
  const verifier = auth.codes.get('good')!
  const fourth = await consent(client, auth)
  // A verifier belongs to its state: another state brings another one.
  await fourth.back({ state: fourth.state, code: 'good' })
  expect(new URLSearchParams(auth.seen.at(-1)!.body).get('code_verifier')).not.toBe(verifier)
})

test('what a person has consented to is kept, refreshed under one lease, and lost only with the grant', async () => {
  const { auth, api, client, use } = await set('oauth2_authorization_code', { expiresIn: 30 })
  auth.codes.get = () => new URLSearchParams(auth.seen.at(-1)!.body).get('code_verifier')!
  const { state, back } = await consent(client, auth)
  const page = await back({ state, code: 'good' })
  expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('“svc” may be used now')])
  expect(await json(await client.get('/api/credentials/svc'))).toMatchObject({ connection: 'connected' })

  // The tokens end within the margin, so each use refreshes: one after the other, or the server would end the grant.
  await Promise.all([use(), use()])
  await use()
  const sent = api.seen.map(({ headers }) => headers.authorization)
  expect(auth.grants()[0]).toBe('authorization_code')
  expect(
    auth
      .grants()
      .slice(1)
      .every((grant) => grant === 'refresh_token'),
  ).toBe(true)
  expect(sent.at(-1)).toBe(`Bearer access-${auth.seen.length}`)

  // The server gives another token, and so forgets the one that we hold.
  await app.runtime.egress(
    new Request(`${auth.url}/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'client_credentials' }).toString(),
    }),
  )
  await expect(use()).rejects.toMatchObject({ kind: 'egress-refused', message: /invalid_grant/ })
  expect(await json(await client.get('/api/credentials/svc'))).toMatchObject({ connection: 'reauthorize' })
  const asked = auth.seen.length
  await expect(use()).rejects.toMatchObject({ message: /no consent any more/ })
  expect(auth.seen.length).toBe(asked)
})

test('a change of the client ends what was given to the old one', async () => {
  const { auth, client, use } = await set('oauth2_client_credentials')
  await use()
  const response = await client.patch('/api/credentials/svc', { fields: { client_id: 'another' } })
  expect(response.status).toBe(200)
  await use()
  expect(auth.grants()).toEqual(['client_credentials', 'client_credentials'])
  await expect((await client.post('/api/credentials/svc/authorize')).status).toBe(409)
})

test('a refresh token that was rotated is kept, though the database does not take the first writes', async () => {
  const { auth, client, use } = await set('oauth2_authorization_code', { expiresIn: 30 })
  auth.codes.get = () => new URLSearchParams(auth.seen.at(-1)!.body).get('code_verifier')!
  const { state, back } = await consent(client, auth)
  expect((await back({ state, code: 'good' })).status).toBe(200)
  const named = client.workspaceId.replaceAll('-', '')
  await sql`create sequence ${sql.ref(`writes_${named}`)}`.execute(app.db)
  // A sequence counts what is rolled back too.
  await sql`create function ${sql.ref(`fail_${named}`)}() returns trigger language plpgsql security definer as ${sql.lit(
    `begin if nextval('writes_${named}') < 3 then raise exception 'away'; end if; return new; end`,
  )}`.execute(app.db)
  await sql`create trigger fails before update on credentials for each row
    when (old.sealed_tokens is distinct from new.sealed_tokens and new.workspace_id = ${sql.lit(client.workspaceId)}::uuid)
    execute function ${sql.ref(`fail_${named}`)}()`.execute(app.db)
  onTestFinished(async () => void (await sql`drop trigger fails on credentials`.execute(app.db)))
  await use()
  await use()
  expect(auth.grants()).toEqual(['authorization_code', 'refresh_token', 'refresh_token'])
  expect(await json(await client.get('/api/credentials/svc'))).toMatchObject({ connection: 'connected' })
})

test('tokens that come after the lease are kept where nobody has newer ones', async () => {
  const { auth, client, use } = await set('oauth2_authorization_code', { expiresIn: 30 })
  auth.codes.get = () => new URLSearchParams(auth.seen.at(-1)!.body).get('code_verifier')!
  const { state, back } = await consent(client, auth)
  await back({ state, code: 'good' })
  auth.hold()
  const late = use()
  await expect.poll(() => auth.held.length).toBe(1)
  await app.db
    .updateTable('credentials')
    .set({ token_lease: null, token_lease_until: null })
    .where('workspace_id', '=', client.workspaceId)
    .execute()
  auth.release()
  await late
  await use()
  expect(auth.grants()).toEqual(['authorization_code', 'refresh_token', 'refresh_token'])
})

test('the secret of a client is not sent without https to a place that the operator has not opened', async () => {
  const fields = { token_url: 'http://1.1.1.1/token', client_id: 'c', client_secret: 's' }
  const client = await app.signIn()
  const kind = 'oauth2_client_credentials'
  await client.post('/api/credentials', { slug: 'svc', kind, hosts: ['8.8.8.8'], fields })
  const refused = 'A secret is not sent to 1.1.1.1 without https.'
  expect(await json(await client.post('/api/credentials/svc/test'))).toMatchObject({ ok: false, detail: refused })
  const target = new Request('https://8.8.8.8/')
  const use = app.runtime.egress(target, { workspaceId: client.workspaceId, credential: 'svc' })
  await expect(use).rejects.toMatchObject({ reason: 'credential', message: refused })
  const key = { api_key: 'sk-local-1234', base_url: 'http://1.1.1.1/v1' }
  const put = await client.put('/api/user-api-keys/openai-compatible', key)
  expect([put.status, (await json(put))['detail']]).toEqual([422, refused])

  // What is refused underway to a token is told of the host that was refused, and of no other; a sign-in is told too.
  const mail = { host: '10.0.0.1', port: 25, username: 'u', password: 'p' }
  await client.post('/api/credentials', { slug: 'mail', kind: 'smtp', fields: mail })
  await client.post('/api/credentials/mail/test')
  await app.settle()
  const told = await app.db
    .selectFrom('audit_logs')
    .select('target_id')
    .where('workspace_id', '=', client.workspaceId)
    .where('action', '=', 'egress.refused')
    .orderBy('seq')
    .execute()
  expect(told.map(({ target_id }) => target_id)).toEqual(['1.1.1.1', '10.0.0.1:25'])
})
