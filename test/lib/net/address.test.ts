import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { classifyAddress, parseAddress, type AddressClass } from '../../../src/lib/net/address.ts'
import { canonicalHost, whyNotPublic } from '../../../src/lib/net/host.ts'

const classes: Record<AddressClass, string[]> = {
  public: [
    '1.1.1.1',
    '8.8.8.8',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.255.255',
    '192.169.0.0',
    '198.17.255.255',
    '198.20.0.0',
    '223.255.255.255',
    '2606:4700:4700::1111',
    '2a00:1450:4001:80b::200e',
    '2001:4860:4860::8888',
  ],
  loopback: [
    '127.0.0.1',
    '127.255.255.255',
    '127.1',
    '2130706433',
    '0x7f000001',
    '017700000001',
    '0177.0.0.1',
    '0x7f.1',
    '::1',
    '[::1]',
    '0:0:0:0:0:0:0:1',
  ],
  private: [
    '10.0.0.0',
    '10.255.255.255',
    '10.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.0.1',
    '192.168.1',
    '3232235777',
    '0xc0a80101',
    'fc00::1',
    'fd12:3456:789a::1',
    'fec0::1',
  ],
  'link-local': ['169.254.0.1', '169.254.255.255', 'fe80::1', 'fe80::1%eth0', 'febf::1'],
  shared: ['100.64.0.1', '100.127.255.255'],
  multicast: ['224.0.0.1', '239.255.255.255', 'ff02::1', 'ff0e::1'],
  reserved: [
    '0.0.0.0',
    '0',
    '0.1.2.3',
    '192.0.0.1',
    '192.0.2.1',
    '198.18.0.1',
    '198.19.255.255',
    '198.51.100.7',
    '203.0.113.9',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '2001:db8::1',
    '2001:2::1',
    '2001:10::1',
    '3fff::1',
    '5f00::1',
    '100::1',
    '4000::1',
    'e000::1',
  ],
  translated: [
    '::127.0.0.1',
    '::ffff:127.0.0.1',
    '::ffff:8.8.8.8',
    '::ffff:a00:1',
    '::ffff:0:127.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b::8.8.8.8',
    '64:ff9b:1::1',
    '2002:7f00:1::',
    '2002:808:808::1',
    '2001::1',
    '192.88.99.1',
  ],
  metadata: [
    '169.254.169.254',
    '2852039166',
    '0xa9fea9fe',
    '0251.0376.0251.0376',
    '169.254.170.2',
    '100.100.100.200',
    '168.63.129.16',
    '192.0.0.192',
    'fd00:ec2::254',
    'fd20:ce::254',
  ],
}

describe.each(Object.entries(classes))('%s', (kind, addresses) => {
  test.each(addresses)('%s', (text) => {
    const address = parseAddress(text)
    expect(address).not.toBeNull()
    expect(classifyAddress(address!)).toBe(kind)
    expect(whyNotPublic(text) === null).toBe(kind === 'public')
  })
})

test.each([
  'localhost',
  'LOCALHOST',
  'localhost.',
  'db.localhost',
  'printer.local',
  'api.internal',
  'metadata.google.internal',
  'metadata.google.internal.',
  'metadata.goog',
  'router.lan',
  'nas.home.arpa',
  'redis',
  'a.localdomain',
  '1.2.3.4.5',
  'example.0x',
  '999.999.999.999',
])('the name %s is not a public one', (name) => expect(whyNotPublic(name)).not.toBeNull())

test.each([
  'example.com',
  'example.com.',
  'EXAMPLE.com',
  'local.example.com',
  'internal.dev',
  'localhost.example.com',
  '10.example.com',
  'xn--bcher-kva.example',
])('nothing is against the name %s', (name) => expect(whyNotPublic(name)).toBeNull())

test('a host has one spelling', () => {
  expect(['EXAMPLE.com.', '[::1]', '0:0:0:0:0:0:0:1', '0x7f.1'].map(canonicalHost)).toEqual([
    'example.com',
    '::1',
    '::1',
    '127.0.0.1',
  ])
})

const privateRanges: [base: number, bits: number][] = [
  [0x00000000, 8],
  [0x0a000000, 8],
  [0x64400000, 10],
  [0x7f000000, 8],
  [0xa9fe0000, 16],
  [0xac100000, 12],
  [0xc0a80000, 16],
  [0xc6120000, 15],
  [0xe0000000, 3],
]
const privateAddress = fc
  .constantFrom(...privateRanges)
  .chain(([base, bits]) => fc.nat(2 ** (32 - bits) - 1).map((rest) => (base + rest) >>> 0))
const digits: ((n: number) => string)[] = [
  (n) => `${n}`,
  (n) => `0x${n.toString(16)}`,
  (n) => `0X${n.toString(16).toUpperCase()}`,
  (n) => (n === 0 ? '0' : `0${n.toString(8)}`),
]
const spelled = fc
  .tuple(
    privateAddress,
    fc.integer({ min: 1, max: 4 }),
    fc.array(fc.constantFrom(...digits), { minLength: 4, maxLength: 4 }),
  )
  .map(([value, parts, writers]) => {
    const octets = [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]
    const last = value % 2 ** (8 * (5 - parts))
    return [...octets.slice(0, parts - 1), last].map((part, index) => writers[index]!(part)).join('.')
  })

test('an address of a private range is refused in every spelling, and in every IPv6 that wraps it', () => {
  fc.assert(
    fc.property(spelled, (text) => {
      expect(whyNotPublic(text)).not.toBeNull()
      // What the URL parser makes of it is refused as well: that is what a request carries.
      expect(whyNotPublic(new URL(`http://${text}/`).hostname)).not.toBeNull()
    }),
    { numRuns: 2000 },
  )
  fc.assert(
    fc.property(
      privateAddress,
      fc.constantFrom('::', '::ffff:', '::ffff:0:', '64:ff9b::', '2002:'),
      (value, prefix) => {
        const words = `${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`
        const text = prefix === '2002:' ? `2002:${words}::1` : `${prefix}${words}`
        expect(whyNotPublic(text)).not.toBeNull()
        expect(whyNotPublic(new URL(`http://[${text}]/`).hostname)).not.toBeNull()
      },
    ),
    { numRuns: 1000 },
  )
})
