import { expect, test } from 'vitest'
import { addressBucket, clientAddress } from '../../src/middleware/client-address.ts'
import { testConfig } from '../support/app.ts'

const config = testConfig()
const node = (remoteAddress: string) => ({ incoming: { socket: { remoteAddress } } })
const request = (headers: Record<string, string> = {}) => new Request('http://localhost/', { headers })
const seen = (peer: string, forwarded?: string) =>
  clientAddress(request(forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }), node(peer), {
    platform: 'node',
    config,
  })

test.each([
  ['203.0.113.9', undefined, '203.0.113.9'],
  ['203.0.113.9', '198.51.100.1', '203.0.113.9'],
  ['127.0.0.1', '198.51.100.1', '198.51.100.1'],
  ['::ffff:10.1.2.3', '198.51.100.1', '198.51.100.1'],
  ['::1', '198.51.100.1, 10.0.0.2, 192.168.1.1', '198.51.100.1'],
  ['10.0.0.1', '1.1.1.1, 198.51.100.7, 10.0.0.2', '198.51.100.7'],
  ['10.0.0.1', 'unknown, 198.51.100.7', '198.51.100.7'],
  ['10.0.0.1', 'nonsense', '10.0.0.1'],
  ['10.0.0.1', '198.51.100.7:4711', '198.51.100.7'],
  ['10.0.0.1', '[2001:db8::1]:4711', '2001:db8::1'],
  ['10.0.0.1', '', '10.0.0.1'],
])('from %s with X-Forwarded-For %j it is %s', (peer, forwarded, address) => {
  expect(seen(peer, forwarded)).toBe(address)
})

test('without trusted proxies the header counts for nothing', () => {
  const runtime = { platform: 'node' as const, config: testConfig({ trustedProxies: [] }) }
  expect(clientAddress(request({ 'x-forwarded-for': '198.51.100.1' }), node('127.0.0.1'), runtime)).toBe('127.0.0.1')
})

test('Bun tells the address through its server', () => {
  const server = { requestIP: () => ({ address: '203.0.113.5' }) }
  expect(clientAddress(request(), server, { platform: 'bun', config })).toBe('203.0.113.5')
})

test('on Workers it is what Cloudflare says, and no other header', () => {
  const headers = { 'cf-connecting-ip': '203.0.113.8', 'x-forwarded-for': '198.51.100.1' }
  expect(clientAddress(request(headers), {}, { platform: 'workers', config })).toBe('203.0.113.8')
})

test('an address that nobody tells is one bucket, not a fault', () => {
  expect(clientAddress(request(), undefined, { platform: 'node', config })).toBe('unknown')
})

test('an IPv6 customer is one bucket, however many addresses it walks through', () => {
  expect(addressBucket('2001:db8:1:2:aaaa::1')).toBe(addressBucket('2001:db8:1:2:bbbb::2'))
  expect(addressBucket('2001:db8:1:2::1')).not.toBe(addressBucket('2001:db8:1:3::1'))
  expect(addressBucket('198.51.100.7')).toBe('198.51.100.7')
})
