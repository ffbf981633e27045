import { classifyAddress, parseAddress } from './address.ts'

// Names that never mean a host on the public internet (RFC 6761, 6762, 8375, ICANN's .internal) and what routers use besides.
const localSuffixes = ['localhost', 'local', 'internal', 'localdomain', 'home.arpa', 'lan', 'intranet', 'corp', 'home']
const metadataNames = ['metadata.goog', 'metadata.tencentyun.com', 'metadata.platformequinix.com']

/** One spelling of a host: lower case, no brackets, no trailing dot, addresses in canonical form. */
export function canonicalHost(host: string): string {
  const bare = host.toLowerCase().replace(/\.+$/, '')
  return parseAddress(bare)?.toString() ?? bare
}

/** Why a host is not a public one, as a phrase that follows its name; null where there is nothing against it. Names are judged as names: their addresses are another question. */
export function whyNotPublic(host: string): string | null {
  const name = canonicalHost(host)
  const address = parseAddress(name)
  if (address) {
    const kind = classifyAddress(address)
    return kind === 'public' ? null : `is a ${kind} address`
  }
  if (metadataNames.includes(name)) return 'is a metadata service'
  if (!name.includes('.')) return 'is a local name'
  // A last label of digits is what a resolver may take for an address although no parser here does.
  if (/(^|\.)(\d+|0x[0-9a-f]*)$/.test(name)) return 'is not a valid name'
  return localSuffixes.some((suffix) => name.endsWith(`.${suffix}`)) ? 'is a local name' : null
}
