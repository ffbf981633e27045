import ipaddr from 'ipaddr.js'
import type { Runtime } from '../context.ts'

/** What the platforms hand over beside the request: Node its bindings, Bun its server. */
interface PlatformEnv {
  incoming?: { socket?: { remoteAddress?: string } }
  requestIP?(request: Request): { address: string } | null
}

const unknownAddress = 'unknown'

/**
 * The address that pays for a request. X-Forwarded-For is read from the right, and each hop is believed only if the one
 * before it is a trusted proxy: what a client writes into the header itself never counts.
 */
export function clientAddress(request: Request, env: unknown, runtime: Pick<Runtime, 'platform' | 'config'>): string {
  if (runtime.platform === 'workers') return request.headers.get('cf-connecting-ip') ?? unknownAddress
  const peer = peerAddress(request, env)
  const trusted = trustOf(runtime.config.trustedProxies)
  if (peer === unknownAddress || !trusted(peer)) return peer
  const forwarded = request.headers.get('x-forwarded-for')
  if (forwarded === null) return peer
  let client = peer
  for (const hop of forwarded.split(',').toReversed()) {
    const address = normalize(hop.trim())
    if (address === null) break
    client = address
    if (!trusted(address)) break
  }
  return client
}

function peerAddress(request: Request, env: unknown): string {
  const platform = (env ?? {}) as PlatformEnv
  const address = platform.incoming?.socket?.remoteAddress ?? platform.requestIP?.(request)?.address
  return address === undefined ? unknownAddress : (normalize(address) ?? unknownAddress)
}

/** IPv4 as it is; of IPv6 the /64, because that is what one customer gets and can walk through at will. */
export function addressBucket(address: string): string {
  if (!address.includes(':')) return address
  const parsed = parse(address)
  if (parsed === null || parsed.kind() === 'ipv4') return address
  return (
    (parsed as ipaddr.IPv6).parts
      .slice(0, 4)
      .map((part) => part.toString(16))
      .join(':') + '::/64'
  )
}

const parse = (text: string): ipaddr.IPv4 | ipaddr.IPv6 | null => (ipaddr.isValid(text) ? ipaddr.process(text) : null)

function normalize(text: string): string | null {
  // The usual shape needs no parser: four groups of digits, as sockets and proxies write them.
  if (/^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/.test(text)) return text
  // Some proxies add a port: 192.0.2.1:4711 or [2001:db8::1]:4711.
  const bare = /^\[([^\]]+)\](?::\d+)?$/.exec(text)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text)?.[1] ?? text
  return parse(bare)?.toString() ?? null
}

const compiled = new WeakMap<readonly string[], (address: string) => boolean>()

/** Compiles a list of ranges once; the answers for recent peers are kept, since behind a proxy there are few. */
function trustOf(ranges: readonly string[]): (address: string) => boolean {
  const known = compiled.get(ranges)
  if (known) return known
  const cidrs = ranges.map((range) => ipaddr.parseCIDR(range))
  const recent = new Map<string, boolean>()
  const trusted = (address: string) => {
    const seen = recent.get(address)
    if (seen !== undefined) return seen
    const parsed = parse(address)
    const verdict =
      parsed !== null && cidrs.some(([base, bits]) => base.kind() === parsed.kind() && parsed.match(base, bits))
    if (recent.size >= 1000) recent.clear()
    recent.set(address, verdict)
    return verdict
  }
  compiled.set(ranges, trusted)
  return trusted
}
