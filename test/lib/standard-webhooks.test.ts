import { expect, test } from 'vitest'
import { formatSecret, isSignedBy, keyOfSecret, signMessage } from '../../src/lib/standard-webhooks.ts'

// The example of the specification's own libraries.
const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const message = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', timestampS: 1_614_265_330, body: '{"test": 2432232314}' }
const signature = 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
const bytes = (text: string) => new TextEncoder().encode(text)
const received = { id: message.id, timestamp: '1614265330', body: bytes(message.body), signatures: signature }

test('signs as the specification signs', () => {
  expect(signMessage([secret], message)).toEqual({
    'webhook-id': message.id,
    'webhook-timestamp': '1614265330',
    'webhook-signature': signature,
  })
})

test('two secrets make two signatures, and either secret accepts them', async () => {
  const other = formatSecret(new Uint8Array(32).fill(7))
  const signatures = signMessage([other, secret], message)['webhook-signature']!
  expect(signatures.split(' ')).toHaveLength(2)
  expect(await isSignedBy([secret], { ...received, signatures })).toBe(true)
  expect(await isSignedBy([other], { ...received, signatures })).toBe(true)
  expect(await isSignedBy([formatSecret(new Uint8Array(32).fill(8))], { ...received, signatures })).toBe(false)
})

test.each([
  ['another id', { id: 'msg_other' }],
  ['another time', { timestamp: '1614265331' }],
  ['another body', { body: bytes('{"test": 2432232315}') }],
  ['another version', { signatures: signature.replace('v1,', 'v1a,') }],
  ['no signature', { signatures: '' }],
  ['a cut signature', { signatures: signature.slice(0, -1) }],
])('%s is not accepted', async (_, change) => {
  expect(await isSignedBy([secret], received)).toBe(true)
  expect(await isSignedBy([secret], { ...received, ...change })).toBe(false)
})

test('a secret that is none has no key', () => {
  expect(keyOfSecret('whsec_')).toBeNull()
  expect(keyOfSecret('whsec_?')).toBeNull()
  expect(keyOfSecret(secret)).toHaveLength(24)
})
