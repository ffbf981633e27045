import ipaddr from 'ipaddr.js'

/**
 * An address or a CIDR range in one canonical spelling, its host bits cleared: `10.1.2.3/8` is `10.0.0.0/8`. Null for anything
 * else, IPv4 in fewer than four parts and IPv4 within IPv6 included, because those are read differently by different people.
 */
export function parseRange(text: string): string | null {
  const [address, bits, ...rest] = text.trim().split('/')
  if (address === undefined || rest.length > 0) return null
  const isV4 = ipaddr.IPv4.isValidFourPartDecimal(address)
  if (!isV4 && (!address.includes(':') || address.includes('.') || !ipaddr.IPv6.isValid(address))) return null
  if (!isV4 && address.includes('%')) return null
  const most = isV4 ? 32 : 128
  if (bits !== undefined && (!/^\d{1,3}$/.test(bits) || Number(bits) > most)) return null
  const cidr = `${address}/${Number(bits ?? most)}`
  const network = isV4 ? ipaddr.IPv4.networkAddressFromCIDR(cidr) : ipaddr.IPv6.networkAddressFromCIDR(cidr)
  return `${network.toString()}/${Number(bits ?? most)}`
}

/** Whether an address lies in one of the ranges. What is no address lies in none. */
export function rangesHold(ranges: readonly string[]): (address: string) => boolean {
  const cidrs = ranges.map((range) => ipaddr.parseCIDR(range))
  return (text) => {
    if (!ipaddr.isValid(text)) return false
    const address = ipaddr.process(text)
    return cidrs.some(([base, bits]) => base.kind() === address.kind() && address.match(base, bits))
  }
}

/** Whether one of the ranges holds all of another one. Both as `parseRange` spells them. */
export function rangesCover(outer: readonly string[], inner: string): boolean {
  const [base, bits] = ipaddr.parseCIDR(inner)
  return outer.some((range) => {
    const [from, least] = ipaddr.parseCIDR(range)
    return from.kind() === base.kind() && least <= bits && base.match(from, least)
  })
}
