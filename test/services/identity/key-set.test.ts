import { expect, test } from 'vitest'
import type { Runtime } from '../../../src/context.ts'
import { createCipher } from '../../../src/runtime/cipher.ts'
import { identityHealth } from '../../../src/services/identity/key-set.ts'
import { verifyToken } from '../../../src/services/identity/verify-token.ts'
import { createKey, type IdentityProvider } from '../../support/jwks-server.ts'
import type { Fault } from '../../support/key-host.ts'
import { setUp } from './token-bench.ts'

const refusal = expect.objectContaining({ kind: 'unauthenticated' })
const unavailable = expect.objectContaining({
  kind: 'unavailable',
  headers: { 'retry-after': expect.stringMatching(/^\d+$/) },
})
const minutes = 60_000
const down = (provider: IdentityProvider) => provider.fail('an error')
/** Lives as long as any test here. */
const long = { exp: Math.floor(Date.now() / 1000) + 1_000_000 }

test('any number of first tokens read the keys once', async () => {
  const { provider, verify } = await setUp()
  await Promise.all(Array.from({ length: 20 }, () => verify()))
  await verify()
  expect(await provider.reads()).toBe(1)
})

test('a new key is found at once, also right after the first read', async () => {
  const { provider, verify } = await setUp()
  await verify()
  const next = await createKey()
  await provider.publish(provider.key, next)
  const all = await Promise.all([verify({ key: next }), verify({ key: next }), verify()])
  expect(all.map(({ subject }) => subject)).toEqual(['user-1', 'user-1', 'user-1'])
  expect(await provider.reads()).toBe(2)
})

test('unknown keys make the process ask once a minute, however many there are', async () => {
  const { provider, verify, advance } = await setUp()
  await verify()
  const unknown = async () => verify({ claims: long, header: { kid: crypto.randomUUID() } })
  const refused = async (count: number) =>
    Promise.all(Array.from({ length: count }, () => expect(unknown()).rejects.toEqual(refusal)))
  await refused(20)
  expect(await provider.reads()).toBe(2)
  advance(59_999)
  await refused(5)
  expect(await provider.reads()).toBe(2)
  advance(1)
  await refused(5)
  expect(await provider.reads()).toBe(3)
})

test('a key that the issuer has withdrawn works while it is remembered, and not after the next read', async () => {
  const { provider, verify, advance, settle } = await setUp()
  await verify()
  const next = await createKey()
  await provider.publish(next)
  advance(10 * minutes)
  expect((await verify({ claims: long })).subject).toBe('user-1')
  expect(await provider.reads()).toBe(1)
  advance(1)
  expect((await verify({ claims: long })).subject).toBe('user-1')
  await settle()
  expect(await provider.reads()).toBe(2)
  await expect(verify({ claims: long })).rejects.toEqual(refusal)
  expect((await verify({ key: next })).subject).toBe('user-1')
})

test('while the issuer is down, known keys do for an hour, and then nobody is let in and nobody is called a liar', async () => {
  const { provider, verify, advance, settle } = await setUp()
  await verify()
  await down(provider)
  advance(60 * minutes)
  expect((await verify({ claims: long })).subject).toBe('user-1')
  await settle()
  advance(1)
  await expect(verify({ claims: long })).rejects.toEqual(unavailable)
  await provider.fail(null)
  advance(10_000)
  expect((await verify({ claims: long })).subject).toBe('user-1')
})

test('while the issuer is down, an unknown key may be a new one: 503, and one question in ten seconds', async () => {
  const { provider, verify, advance } = await setUp()
  await down(provider)
  await Promise.all(Array.from({ length: 10 }, () => expect(verify()).rejects.toEqual(unavailable)))
  expect(await provider.reads()).toBe(1)
  advance(9_999)
  await expect(verify()).rejects.toEqual(unavailable)
  expect(await provider.reads()).toBe(1)
  await provider.fail(null)
  advance(1)
  expect((await verify()).subject).toBe('user-1')
  expect(await provider.reads()).toBe(2)
  const next = await createKey()
  await down(provider)
  await expect(verify({ key: next })).rejects.toEqual(unavailable)
  expect((await verify()).subject).toBe('user-1')
})

const faults: Fault[] = [
  'an error',
  'garbage',
  'nothing',
  'null',
  'no keys',
  'keys that are none',
  'more than anybody needs',
  'half an answer',
  'a way elsewhere',
  'a broken line',
]
test.each(faults)('%s instead of the keys neither opens the door nor calls the token wrong', async (fault) => {
  const { provider, verify, advance } = await setUp()
  await verify()
  await provider.fail(fault)
  advance(60 * minutes + 1)
  await expect(verify({ claims: long })).rejects.toEqual(unavailable)
})

test('nobody waits for the issuer while the key is known', async () => {
  const { ctx, provider, verify, advance } = await setUp()
  await verify()
  await provider.fail('nothing for now')
  advance(10 * minutes + 1)
  const token = await provider.token()
  expect((await verifyToken(ctx, token)).subject).toBe('user-1')
  await provider.fail(null)
})

test('a read that never ends holds nobody for ever', async () => {
  const { ctx, provider, verify, advance } = await setUp()
  let begun = () => {}
  const reading = new Promise<void>((resolve) => void (begun = resolve))
  const never: Runtime = { ...ctx, readConfigured: () => (begun(), new Promise(() => {})) }
  void verifyToken(never, await provider.token()).catch(() => {})
  await reading
  // Whoever comes later takes over instead of waiting for what has died.
  advance(6_000)
  expect((await verify()).subject).toBe('user-1')
})

test('health tells whether the issuer answers, and finds out where nobody has asked yet', async () => {
  const { ctx, provider, verify, advance } = await setUp()
  await down(provider)
  expect(await identityHealth(ctx)).toMatchObject({ status: 'unhealthy', detail: expect.stringContaining('since') })
  await provider.fail(null)
  advance(10_000)
  expect(await identityHealth(ctx)).toEqual({ status: 'healthy' })
  await verify()
  await down(provider)
  await expect(verify({ header: { kid: 'other' } })).rejects.toEqual(unavailable)
  expect(await identityHealth(ctx)).toMatchObject({ status: 'degraded' })
  expect(await provider.reads()).toBe(3)
})

test('processes share what one of them has read, and nobody can slip in a key', async () => {
  const { ctx, provider, verify } = await setUp()
  const cipher = createCipher(`a:${btoa('1'.repeat(32))}`)
  const processOf = (over: Partial<Runtime> = {}): Runtime => ({ ...ctx, cipher, config: { ...ctx.config }, ...over })
  await verifyToken(processOf(), await provider.token())
  await verifyToken(processOf(), await provider.token())
  expect(await provider.reads()).toBe(1)

  const next = await createKey()
  await provider.publish(next)
  expect((await verifyToken(processOf(), await provider.token({ key: next }))).subject).toBe('user-1')
  expect(await provider.reads()).toBe(2)

  const evil = await createKey()
  const forged = JSON.stringify({ keys: [evil.jwk], readAtMs: ctx.clock.now().getTime() })
  await ctx.kv.set(`identity:keys:${provider.url}`, forged, 600)
  await expect(verifyToken(processOf(), await provider.token({ key: evil }))).rejects.toEqual(refusal)
  const broken = { get: () => Promise.reject(new Error('away')), set: () => Promise.reject(new Error('away')) }
  const alone = processOf({ kv: { ...ctx.kv, ...broken } })
  expect((await verifyToken(alone, await provider.token({ key: next }))).subject).toBe('user-1')
  await expect(verify({ key: evil })).rejects.toEqual(refusal)
})
