import ipaddr from 'ipaddr.js'

/** What an address is for. Only `public` is open to everyone; `metadata` hands out a machine's own credentials. */
export type AddressClass =
  | 'public'
  | 'loopback'
  | 'private'
  | 'link-local'
  | 'shared'
  | 'multicast'
  | 'reserved'
  | 'translated'
  | 'metadata'

type Range = readonly [cidr: string, kind: AddressClass]

// Services that hand out a machine's credentials. First, because some lie within other ranges, one (Azure's) in public space.
const metadata: readonly Range[] = [
  ['169.254.169.254/32', 'metadata'],
  ['169.254.170.2/32', 'metadata'],
  ['169.254.170.23/32', 'metadata'],
  ['100.100.100.200/32', 'metadata'],
  ['168.63.129.16/32', 'metadata'],
  ['192.0.0.192/32', 'metadata'],
  ['fd00:ec2::254/128', 'metadata'],
  ['fd00:ec2::23/128', 'metadata'],
  ['fd20:ce::254/128', 'metadata'],
]

// IANA's special-purpose registries (RFC 6890 and its updates): what is not globally reachable.
const special: readonly Range[] = [
  ['0.0.0.0/8', 'reserved'],
  ['10.0.0.0/8', 'private'],
  ['100.64.0.0/10', 'shared'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local'],
  ['172.16.0.0/12', 'private'],
  ['192.0.0.0/24', 'reserved'],
  ['192.0.2.0/24', 'reserved'],
  ['192.31.196.0/24', 'reserved'],
  ['192.52.193.0/24', 'reserved'],
  ['192.88.99.0/24', 'translated'],
  ['192.168.0.0/16', 'private'],
  ['192.175.48.0/24', 'reserved'],
  ['198.18.0.0/15', 'reserved'],
  ['198.51.100.0/24', 'reserved'],
  ['203.0.113.0/24', 'reserved'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved'],

  ['::1/128', 'loopback'],
  // These carry an IPv4 address that a gateway may unwrap, wherever it leads.
  ['::ffff:0:0/96', 'translated'],
  ['::ffff:0:0:0/96', 'translated'],
  ['64:ff9b::/96', 'translated'],
  ['64:ff9b:1::/48', 'translated'],
  ['2001::/32', 'translated'],
  ['2002::/16', 'translated'],
  ['fc00::/7', 'private'],
  ['fec0::/10', 'private'],
  ['fe80::/10', 'link-local'],
  ['ff00::/8', 'multicast'],
  ['2001::/23', 'reserved'],
  ['2001:db8::/32', 'reserved'],
  ['2620:4f:8000::/48', 'reserved'],
  ['3fff::/20', 'reserved'],
  ['5f00::/16', 'reserved'],
]

type Address = ipaddr.IPv4 | ipaddr.IPv6
const parsed = [...metadata, ...special].map(([cidr, kind]) => [parseCidr(cidr)!, kind] as const)
const globalUnicast = parseCidr('2000::/3')!

/**
 * An address in any spelling that some resolver understands: dotted, decimal, octal, hexadecimal, fewer than four
 * parts, IPv6 with or without brackets and zone. Null for a name.
 */
export function parseAddress(text: string): Address | null {
  const bare = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text
  return ipaddr.isValid(bare) ? ipaddr.parse(bare) : null
}

export type Cidr = readonly [address: Address, bits: number]

export function parseCidr(text: string): Cidr | null {
  return ipaddr.isValidCIDR(text) ? ipaddr.parseCIDR(text) : null
}

export function inCidr(address: Address, [network, bits]: Cidr): boolean {
  return address.kind() === network.kind() && address.match(network, bits)
}

export function classifyAddress(address: Address): AddressClass {
  const found = parsed.find(([cidr]) => inCidr(address, cidr))
  if (found) return found[1]
  // Outside 2000::/3 nothing is assigned for the public internet (this covers `::` and IPv4-compatible addresses too).
  return address.kind() === 'ipv6' && !inCidr(address, globalUnicast) ? 'reserved' : 'public'
}
