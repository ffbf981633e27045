import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createEgress, type EgressParts } from '../../src/runtime/egress.ts'

const log: EgressParts['log'] = { debug() {}, info() {}, warn() {}, error() {}, with: () => log }
const publicAddress = '93.184.215.14'

/** A network in which everything answers and every name is public: whatever is refused, the guard has refused. */
function guard(answers: (host: string) => string[] = () => [publicAddress], platformResolves = false) {
  const sent: string[] = []
  const egress = createEgress({
    config: { egressAllow: [] },
    fetch: async (request) => {
      sent.push(request.url)
      return new Response('reached')
    },
    resolve: platformResolves ? null : async (host) => answers(host),
    credentials: async () => null,
    log,
  })
  const outcome = async (url: string) => {
    try {
      await egress(new Request(url))
      return 'sent'
    } catch (error) {
      // What one runtime makes no Request of, the guard refuses on another.
      return error instanceof TypeError ? 'url' : ((error as { reason?: string }).reason ?? String(error))
    }
  }
  return { outcome, sent }
}

test.each([
  ['http://127.0.0.1/', 'address'],
  ['http://127.1/', 'address'],
  ['http://0/', 'address'],
  ['http://0x7f000001/', 'address'],
  ['http://0177.0.0.1/', 'address'],
  ['http://2130706433/', 'address'],
  ['http://127.0.0.1./', 'address'],
  ['http://１２７.0.0.1/', 'address'],
  ['http://%31%32%37.0.0.1/', 'address'],
  ['http://10.0.0.0xff/', 'address'],
  ['http://[::]/', 'address'],
  ['http://[::1]/', 'address'],
  ['http://[0:0:0:0:0:0:0:1]/', 'address'],
  ['http://[::127.0.0.1]/', 'address'],
  ['http://[::ffff:127.0.0.1]/', 'address'],
  ['http://[::ffff:7f00:1]/', 'address'],
  ['http://[::ffff:0:7f00:1]/', 'address'],
  ['http://[64:ff9b::127.0.0.1]/', 'address'],
  ['http://[64:ff9b:1::10.0.0.1]/', 'address'],
  ['http://[2002:7f00:1::]/', 'address'],
  ['http://[2001:0:7f00:1::]/', 'address'],
  ['http://[fe80::1]/', 'address'],
  ['http://[fec0::1]/', 'address'],
  ['http://[fd00:ec2::254]/', 'address'],
  ['http://169.254.169.254/latest/meta-data/', 'address'],
  ['http://168.63.129.16/', 'address'],
  ['http://metadata.google.internal./', 'address'],
  ['http://localhost/', 'address'],
  ['http://LOCALHOST./', 'address'],
  ['http://a.localhost/', 'address'],
  ['http://printer/', 'address'],
  ['http://router.lan/', 'address'],
  ['http://example.com:22/', 'port'],
  ['http://example.com:25/', 'port'],
  ['http://example.com:6379/', 'port'],
  ['https://example.com:5432/', 'port'],
  [`http://${publicAddress}:11211/`, 'port'],
  ['ftp://example.com/', 'url'],
  ['file:///etc/passwd', 'url'],
  ['gopher://example.com:6379/_FLUSHALL', 'url'],
  ['http://user@example.com/', 'url'],
  ['http://127.0.0.1:80@example.com/', 'url'],
  ['http://example.com:99999/', 'url'],
  ['http://256.1.1.1/', 'url'],
  ['https://example.com/', 'sent'],
  ['https://example.com:8443/', 'sent'],
  ['http://8.8.8.8/', 'sent'],
  ['http://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/', 'sent'],
])('%s: %s', async (url, expected) => {
  for (const each of [guard(), guard(undefined, true)]) {
    expect(await each.outcome(url)).toBe(expected)
    expect(each.sent).toHaveLength(expected === 'sent' ? 1 : 0)
  }
})

const ranges: [first: number, bits: number][] = [
  [0x0a000000, 8],
  [0x7f000000, 8],
  [0xac100000, 12],
  [0xc0a80000, 16],
  [0xa9fe0000, 16],
  [0x64400000, 10],
  [0x00000000, 8],
  [0xe0000000, 4],
  [0xf0000000, 4],
]
const privateAddress = fc
  .tuple(fc.constantFrom(...ranges), fc.nat(0xffffffff))
  .map(([[first, bits], rest]) => (first | (rest & (0xffffffff >>> bits))) >>> 0)

const octets = (address: number) => [24, 16, 8, 0].map((shift) => (address >>> shift) & 255)
const inAnyBase = (value: number, base: number) =>
  base === 8 ? `0${value.toString(8)}` : base === 16 ? `0x${value.toString(16)}` : String(value)
const hextets = (address: number) => `${(address >>> 16).toString(16)}:${(address & 0xffff).toString(16)}`
const base = fc.constantFrom(8, 10, 16)

/** Every way of writing an IPv4 address that some parser of URLs or some resolver understands. */
const spelling = fc
  .tuple(privateAddress, fc.array(base, { minLength: 4, maxLength: 4 }), fc.nat(12), fc.boolean())
  .map(([address, bases, form, dotted]) => {
    const [a, b, c, d] = octets(address) as [number, number, number, number]
    const write = (parts: number[]) => parts.map((part, index) => inAnyBase(part, bases[index]!)).join('.')
    const plain = [a, b, c, d].join('.')
    const forms = [
      write([a, b, c, d]),
      write([a, b, (c << 8) | d]),
      write([a, (b << 16) | (c << 8) | d]),
      write([address]),
      `[::ffff:${plain}]`,
      `[::ffff:${hextets(address)}]`,
      `[::${plain}]`,
      `[::ffff:0:${hextets(address)}]`,
      `[64:ff9b::${plain}]`,
      `[64:ff9b:1::${hextets(address)}]`,
      `[2002:${hextets(address)}::1]`,
      `[2001:0:${hextets(address)}::]`,
      encodeURIComponent(plain).replaceAll('.', '%2E'),
    ]
    const host = forms[form]!
    return host.startsWith('[') || !dotted ? host : `${host}.`
  })

test('no spelling of a private address passes, typed, redirected to or answered by a resolver', async () => {
  await fc.assert(
    fc.asyncProperty(spelling, privateAddress, async (host, address) => {
      const typed = guard()
      expect(await typed.outcome(`http://${host}/`)).not.toBe('sent')
      expect(typed.sent).toEqual([])

      const plain = octets(address).join('.')
      for (const answer of [plain, `::ffff:${plain}`, `64:ff9b::${plain}`, `2002:${hextets(address)}::1`]) {
        const answered = guard(() => [publicAddress, answer])
        expect(await answered.outcome('http://public.example/')).toBe('address')
        expect(answered.sent).toEqual([])
      }
      let requests = 0
      const egress = createEgress({
        config: { egressAllow: [] },
        fetch: async () => (requests++, new Response(null, { status: 302, headers: { location: `http://${host}/` } })),
        resolve: async () => [publicAddress],
        credentials: async () => null,
        log,
      })
      await expect(egress(new Request('http://public.example/'))).rejects.toThrow()
      expect(requests).toBe(1)
    }),
    { numRuns: 300 },
  )
})
