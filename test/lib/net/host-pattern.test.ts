import { expect, test } from 'vitest'
import {
  coversTopLevel,
  createAllowList,
  formatHostPattern,
  matchesHostPattern,
  parseHostPattern,
} from '../../../src/lib/net/host-pattern.ts'

const matches = (pattern: string, host: string, port = 443) => {
  const parsed = parseHostPattern(pattern)
  if (!parsed) throw new Error(`${pattern} cannot be read`)
  return matchesHostPattern(parsed, host, port)
}

test.each([
  ['api.example.com', 'api.example.com', 443],
  ['api.example.com', 'API.example.COM.', 8443],
  ['api.example.com:8443', 'api.example.com', 8443],
  ['*.example.com', 'a.example.com', 443],
  ['*.example.com', 'a.b.example.com', 443],
  ['Bücher.example', 'xn--bcher-kva.example', 443],
  ['127.0.0.1:9', '127.0.0.1', 9],
  ['[::1]:9', '[::1]', 9],
  ['::1', '[::1]', 80],
])('%s matches %s port %i', (pattern, host, port) => expect(matches(pattern, host, port)).toBe(true))

test.each([
  ['api.example.com', 'evilapi.example.com', 443],
  ['api.example.com', 'api.example.com.evil.test', 443],
  ['api.example.com:8443', 'api.example.com', 443],
  ['*.example.com', 'example.com', 443],
  ['*.example.com', 'evilexample.com', 443],
])('%s does not match %s port %i', (pattern, host, port) => expect(matches(pattern, host, port)).toBe(false))

test.each([
  '*',
  '*.',
  '*:443',
  '**.example.com',
  'a*.example.com',
  '*.127.0.0.1',
  'https://example.com',
  'example.com/path',
  'user@example.com',
  'example.com:0',
  'example.com:65536',
  'example.com:x',
  '',
  ' ',
  'a b',
  '[::1',
  '1.2.3.4.5',
  'exa%mple.com',
])('%j is no host pattern', (text) => expect(parseHostPattern(text)).toBeNull())

test('a pattern is stored in one spelling', () => {
  expect(
    ['API.Example.com.', '*.Example.com:8443', '[::1]:80', '0x7f.1'].map((text) =>
      formatHostPattern(parseHostPattern(text)!),
    ),
  ).toEqual(['api.example.com', '*.example.com:8443', '[::1]:80', '127.0.0.1'])
})

test('an allow list takes hosts, ports, suffixes, addresses and ranges', () => {
  const allow = createAllowList([
    'intranet.example.com',
    '*.corp.example:8080',
    '192.168.7.20:8080',
    '10.1.0.0/16',
    'fd00::/8',
    'nonsense!',
  ])
  expect([
    allow.allowsHost('intranet.example.com', 80),
    allow.allowsHost('a.corp.example', 8080),
    allow.allowsHost('a.corp.example', 80),
  ]).toEqual([true, true, false])
  expect([
    allow.allowsAddress('192.168.7.20', 8080),
    allow.allowsAddress('192.168.7.20', 80),
    allow.allowsAddress('192.168.7.21', 8080),
  ]).toEqual([true, false, false])
  expect([
    allow.allowsAddress('10.1.255.1', 1),
    allow.allowsAddress('10.2.0.1', 1),
    allow.allowsAddress('fd00::1', 1),
    allow.allowsAddress('::ffff:10.1.0.1', 1),
  ]).toEqual([true, false, true, false])
  expect(createAllowList([]).allowsHost('example.com', 443)).toBe(false)
})

test('a wildcard over a top-level domain is told apart, for whom it is too wide', () => {
  const wide = ['*.com', '*.example.com', 'com'].map((text) => coversTopLevel(parseHostPattern(text)!))
  expect(wide).toEqual([true, false, false])
})
