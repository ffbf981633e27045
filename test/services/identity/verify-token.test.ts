import { exportSPKI, importJWK, SignJWT, UnsecuredJWT, type CryptoKey, type JWTPayload } from 'jose'
import { expect, test } from 'vitest'
import { verifyToken, type TokenClaims } from '../../../src/services/identity/verify-token.ts'
import type { Issuer } from '../../../src/services/identity/issuers.ts'
import { createIdentityProvider, createKey, type TokenOptions } from '../../support/jwks-server.ts'
import { setUp } from './token-bench.ts'

const refusal = expect.objectContaining({ kind: 'unauthenticated' })

test('a token of the issuer says who its bearer is', async () => {
  const { verify, nowS } = await setUp()
  expect(await verify({ claims: { email: 'ada@example.com', name: ' Ada ' } })).toEqual({
    issuer: 'https://id.example',
    subject: 'user-1',
    issuedAtS: nowS(),
    expiresAtS: nowS() + 60,
    email: 'ada@example.com',
    name: 'Ada',
  } satisfies TokenClaims)
})

test.each(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'])(
  '%s is accepted',
  async (alg) => {
    const { provider, verify } = await setUp()
    const key = await createKey(alg)
    await provider.publish(key)
    expect((await verify({ key })).subject).toBe('user-1')
  },
)

test('the public key is no secret to sign with', async () => {
  const { ctx, provider, nowS } = await setUp()
  const key = await createKey('RS256')
  await provider.publish(key)
  const pem = await exportSPKI((await importJWK({ ...key.jwk }, 'RS256', { extractable: true })) as CryptoKey)
  const claims = { iss: provider.issuer, aud: provider.audience, sub: 'user-1', iat: nowS(), exp: nowS() + 60 }
  for (const secret of [pem, pem.trim(), JSON.stringify(key.jwk), key.jwk.n!]) {
    for (const alg of ['HS256', 'HS384', 'HS512']) {
      const token = await new SignJWT(claims)
        .setProtectedHeader({ alg, kid: key.kid })
        .sign(new TextEncoder().encode(secret.padEnd(64)))
      await expect(verifyToken(ctx, token)).rejects.toEqual(refusal)
    }
  }
  const none = new UnsecuredJWT(claims).encode()
  await expect(verifyToken(ctx, none)).rejects.toEqual(refusal)
  const good = (await provider.token({ key })).split('.')
  for (const alg of ['none', 'None', 'NONE', '']) {
    const header = btoa(JSON.stringify({ alg, kid: key.kid })).replace(/=+$/, '')
    await expect(verifyToken(ctx, `${header}.${good[1]}.`)).rejects.toEqual(refusal)
    await expect(verifyToken(ctx, `${header}.${good[1]}.${good[2]}`)).rejects.toEqual(refusal)
  }
})

test('a key is used for its own algorithm and for signatures only', async () => {
  const { provider, verify } = await setUp()
  const key = await createKey('RS256')
  await provider.publish({ ...key, jwk: { ...key.jwk, alg: 'PS256' } })
  await expect(verify({ key })).rejects.toEqual(refusal)
  const encryption = await setUp()
  await encryption.provider.publish({ ...key, jwk: { ...key.jwk, use: 'enc' } })
  await expect(encryption.verify({ key })).rejects.toEqual(refusal)
})

test('a private or a symmetric key in the set is not one of its keys', async () => {
  const { provider, verify } = await setUp()
  const key = await createKey()
  const secret = { kty: 'oct', k: btoa('0'.repeat(32)), kid: key.kid, alg: 'HS256' }
  await provider.publish(provider.key, { ...key, jwk: { ...key.jwk, d: key.jwk.x! } }, { ...key, jwk: secret })
  await expect(verify({ key })).rejects.toEqual(refusal)
  expect((await verify()).subject).toBe('user-1')
})

const own = await createKey()
const strange: [string, TokenOptions][] = [
  ['another issuer', { claims: { iss: 'https://id.example/' } }],
  ['no issuer', { claims: { iss: undefined } }],
  ['another audience', { claims: { aud: 'https://other.example' } }],
  ['no audience', { claims: { aud: undefined } }],
  ['an empty audience', { claims: { aud: [] } }],
  ['no subject', { claims: { sub: undefined } }],
  ['an empty subject', { claims: { sub: '' } }],
  ['a subject with NUL', { claims: { sub: 'a\0b' } }],
  ['half a character as subject', { claims: { sub: '\ud800' } }],
  ['an endless subject', { claims: { sub: 'x'.repeat(256) } }],
  ['no end', { claims: { exp: undefined } }],
  ['an end that is no number', { claims: { exp: '9999999999' as unknown as number } }],
  ['an end beyond all times', { claims: { exp: 1e300 } }],
  ['no beginning', { claims: { iat: undefined } }],
  ['a beginning that is no number', { claims: { iat: 'now' as unknown as number } }],
  ['a session that is no name', { claims: { sid: 7 } }],
  ['an endless session', { claims: { sid: 'x'.repeat(256) } }],
  ['a session that is not complete', { claims: { sts: 'pending' } }],
  ['a header that asks to be understood', { header: { crit: ['b64'], b64: true } }],
  ['a key of its own', { key: own, header: { jwk: own.jwk } }],
  ['the address of a key of its own', { key: own, header: { jku: 'https://evil.example/jwks.json' } }],
  ['a certificate of its own', { header: { x5c: ['MIIB'] } }],
  ['the address of a certificate', { header: { x5u: 'https://evil.example/cert' } }],
  ['another type', { header: { typ: 'logout+jwt' } }],
  ['a type that is no text', { header: { typ: 7 } }],
  ['the id of a key that did not sign it', { key: { ...own, kid: 'k' } }],
]
test.each(strange)('a token with %s is refused', async (_, options) => {
  const { provider, verify } = await setUp()
  await provider.publish({ ...provider.key, kid: 'k', jwk: { ...provider.key.jwk, kid: 'k' } })
  const signer = options.key ?? { ...provider.key, kid: 'k' }
  expect((await verify({ key: { ...provider.key, kid: 'k' } })).subject).toBe('user-1')
  await expect(verify({ ...options, key: signer })).rejects.toEqual(refusal)
})

test.each(['JWT', 'jwt', 'at+jwt', 'application/at+jwt', undefined])('the type %s is accepted', async (typ) => {
  const { verify } = await setUp()
  expect((await verify(typ === undefined ? {} : { header: { typ } })).subject).toBe('user-1')
})

test('a token that names no key is accepted where one alone can be meant', async () => {
  const { provider, verify } = await setUp()
  const header = { kid: undefined }
  expect((await verify({ header })).subject).toBe('user-1')
  await provider.publish(provider.key, await createKey())
  expect((await verify({ header })).subject).toBe('user-1')
  const both = await setUp()
  await both.provider.publish(both.provider.key, await createKey())
  await expect(both.verify({ header })).rejects.toEqual(refusal)
})

test('one of several audiences is enough; without a configured one none is asked for', async () => {
  const { verify } = await setUp()
  expect((await verify({ claims: { aud: ['x', 'https://api.example'] } })).subject).toBe('user-1')
  for (const authAudience of [null, []]) {
    const any = await setUp({ authAudience })
    expect((await any.verify({ claims: { aud: undefined } })).subject).toBe('user-1')
  }
})

test('where authorized parties are configured, a token must have been made for one of them', async () => {
  const { verify } = await setUp({ authAuthorizedParties: ['https://app.example'] })
  expect((await verify({ claims: { azp: 'https://app.example' } })).subject).toBe('user-1')
  for (const azp of ['https://evil.example', undefined]) {
    await expect(verify({ claims: { azp } })).rejects.toEqual(refusal)
  }
})

test('clocks may be 60 seconds apart and no more', async () => {
  const { verify, nowS } = await setUp()
  const now = nowS()
  const holds = async (claims: JWTPayload) =>
    verify({ claims }).then(
      () => true,
      () => false,
    )
  expect([
    await holds({ exp: now - 59 }),
    await holds({ exp: now - 60 }),
    await holds({ nbf: now + 60 }),
    await holds({ nbf: now + 61 }),
    await holds({ iat: now + 60 }),
    await holds({ iat: now + 61 }),
  ]).toEqual([true, false, true, false, true, false])
})

test('what is longer than 8 KB is refused before anything is read of it', async () => {
  const { ctx, provider, verify } = await setUp()
  await expect(verify({ claims: { pad: 'x'.repeat(8_192) } })).rejects.toEqual(refusal)
  await expect(verifyToken(ctx, 'x'.repeat(1_000_000))).rejects.toEqual(refusal)
  expect(await provider.reads()).toBe(0)
  expect((await verify({ claims: { pad: 'x'.repeat(5_000) } })).subject).toBe('user-1')
})

test.each([
  '',
  '.',
  '..',
  'a.b',
  'a.b.c',
  'a.b.c.d',
  'a.b.c.d.e',
  'é.é.é',
  '\ud800.\ud800.\ud800',
  'bnVsbA.bnVsbA.bnVsbA',
  '🙂',
])('garbage is refused without a question to the issuer: %j', async (token) => {
  const { ctx, provider } = await setUp()
  await expect(verifyToken(ctx, token)).rejects.toEqual(refusal)
  expect(await provider.reads()).toBe(0)
})

test('subjects are told apart to the letter, in any script', async () => {
  const { verify } = await setUp()
  for (const sub of ['Ada', 'ada', 'Zoë', 'Zoe\u0308', '👩‍🔬', 'auth0|5f7']) {
    expect((await verify({ claims: { sub } })).subject).toBe(sub)
  }
})

test('names and addresses lose what no text may hold, and their excess', async () => {
  const { verify } = await setUp()
  const { email, name } = await verify({ claims: { email: 'a\0@b', name: `${'x'.repeat(319)}🙂` } })
  expect([email, name]).toEqual(['a@b', 'x'.repeat(319)])
  expect(await verify({ claims: { email: 7, name: ' ' } })).toMatchObject({ email: undefined, name: undefined })
})

test('the log names the check that failed and nothing of the token', async () => {
  const { provider, verify, logged } = await setUp()
  const token = await provider.token({ claims: { sub: 'secret-subject', aud: 'other' } })
  await expect(verify({ claims: { sub: 'secret-subject', aud: 'other' } })).rejects.toEqual(refusal)
  expect(JSON.stringify(logged)).toContain('aud')
  expect(JSON.stringify(logged)).not.toContain('secret-subject')
  expect(JSON.stringify(logged)).not.toContain(token.split('.')[1])
})

async function several() {
  const bench = await setUp({ authAuthorizedParties: ['https://app.example'] })
  const other = await createIdentityProvider(() => bench.ctx.clock.now().getTime())
  const clerk: Issuer = {
    issuer: 'https://clerk.example',
    jwksUrl: other.url,
    kind: 'clerk',
    audience: [],
    authorizedParties: ['https://clerk-app.example'],
  }
  const ctx = { ...bench.ctx, config: { ...bench.ctx.config, authIssuers: [clerk] } }
  const fromClerk = async (claims: object = {}, options: TokenOptions = {}) =>
    other.token({
      ...options,
      claims: { iss: clerk.issuer, azp: 'https://clerk-app.example', aud: undefined, ...claims },
    })
  const check = async (token: string | Promise<string>) => verifyToken(ctx, await token)
  return { ...bench, ctx, other, fromClerk, check }
}

test('several issuers count at once, each with its own keys, audience and parties', async () => {
  const { provider, other, fromClerk, check } = await several()
  const azp = 'https://app.example'
  expect((await check(provider.token({ claims: { azp } }))).issuer).toBe('https://id.example')
  expect((await check(fromClerk())).issuer).toBe('https://clerk.example')
  const refusedOnes = [
    // What one issuer signs in the name of the other.
    fromClerk({ iss: 'https://id.example', aud: provider.audience, azp }),
    provider.token({ claims: { iss: 'https://clerk.example', azp: 'https://clerk-app.example', aud: undefined } }),
    fromClerk({}, { key: provider.key }),
    fromClerk({}, { key: { ...provider.key, kid: other.key.kid } }),
    // Made for a party of the other, or an audience that only the other asks for.
    fromClerk({ azp }),
    provider.token({ claims: { azp: 'https://clerk-app.example' } }),
    provider.token({ claims: { azp, aud: undefined } }),
    fromClerk({ iss: 'https://third.example' }),
    fromClerk({ iss: ['https://clerk.example'] }),
  ]
  for (const token of refusedOnes) await expect(check(token)).rejects.toEqual(refusal)
})

test('a flood of unknown keys of one issuer costs it a question a minute, and another none', async () => {
  const { provider, other, fromClerk, check } = await several()
  await check(fromClerk())
  const flood = Array.from({ length: 20 }, () =>
    expect(check(fromClerk({}, { header: { kid: crypto.randomUUID() } }))).rejects.toEqual(refusal),
  )
  await Promise.all(flood)
  expect([await other.reads(), await provider.reads()]).toEqual([2, 0])
})

test('a token of Clerk says its session and its organization, in both versions', async () => {
  const { fromClerk, check } = await several()
  const organization = { id: 'org_1', role: 'admin', slug: 'acme' }
  const one = { sid: 'sess_1', org_id: 'org_1', org_role: 'org:admin', org_slug: 'acme' }
  const two = { sid: 'sess_1', v: 2, o: { id: 'org_1', rol: 'admin', slg: 'acme', per: 'read' } }
  for (const claims of [one, two]) {
    expect(await check(fromClerk(claims))).toMatchObject({ sessionId: 'sess_1', org: organization })
  }
  expect((await check(fromClerk({ org_id: 'org_1', org_role: 'basic_member' }))).org).toEqual({
    id: 'org_1',
    role: 'basic_member',
    slug: undefined,
  })
  expect(await check(fromClerk())).toMatchObject({ sessionId: undefined, org: undefined })
  for (const bad of [{ org_id: 'org_1' }, { o: { id: 7, rol: 'admin' } }, { org_id: '', org_role: 'admin' }]) {
    await expect(check(fromClerk(bad))).rejects.toEqual(refusal)
  }
})

test('the claims of organizations count for Clerk alone', async () => {
  const { verify } = await setUp()
  expect((await verify({ claims: { org_id: 'org_1', org_role: 'admin' } })).org).toBeUndefined()
})
