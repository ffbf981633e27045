import { EgressError } from '../../lib/egress-error.ts'
import { classifyAddress, parseAddress } from '../../lib/net/address.ts'
import { canonicalHost, whyNotPublic } from '../../lib/net/host.ts'
import type { AllowList } from '../../lib/net/host-pattern.ts'

export interface Destination {
  /** Checked addresses, of which one is connected to; null where the platform resolves. */
  addresses: string[] | null
  /** Opened by the operator in EGRESS_ALLOW, by its name or by its addresses. */
  trusted: boolean
}

/** Decides whether a URL may be called, and at which addresses. Throws EgressError; the message never tells an address that a name resolves to. */
export function createDestinationCheck(allow: AllowList, resolve: ((host: string) => Promise<string[]>) | null) {
  return async (url: URL): Promise<Destination> => {
    if (url.protocol !== 'http:' && url.protocol !== 'https:')
      throw refused(`${url.protocol} addresses are not called.`)
    if (url.username !== '' || url.password !== '') throw refused('A URL must not carry a user name or a password.')
    const host = canonicalHost(url.hostname)
    const port = portOf(url)
    const literal = parseAddress(host)
    const trusted = allow.allowsHost(host, port) || (literal !== null && allow.allowsAddress(host, port))

    if (!trusted) {
      const reason = whyNotPublic(host)
      if (reason) throw refused(`${host} ${reason}. An operator can open it with EGRESS_ALLOW.`)
    }
    if (literal) return { addresses: [host], trusted }
    if (!resolve) return { addresses: null, trusted }
    const addresses = await resolveChecked(host, port, trusted)
    return { addresses, trusted: trusted || addresses.every((address) => allow.allowsAddress(address, port)) }
  }

  async function resolveChecked(host: string, port: number, trusted: boolean): Promise<string[]> {
    const addresses = await resolve!(host).catch((cause: unknown) => {
      throw new EgressError('egress-failed', `${host} cannot be resolved.`, { cause })
    })
    if (addresses.length === 0) throw new EgressError('egress-failed', `${host} has no address.`)
    for (const text of addresses) {
      const address = parseAddress(text)
      const kind = address === null ? 'unknown' : classifyAddress(address)
      // A name that the operator trusts may be private, but its DNS must not point it at a metadata service.
      const trustworthy = trusted && kind !== 'metadata' && kind !== 'unknown'
      const open = kind === 'public' || trustworthy || allow.allowsAddress(text, port)
      // One bad answer refuses them all: which one a client would take is the attacker's game.
      if (!open) {
        throw refused(
          `${host} resolves to an address that is not public (${kind}). An operator can open it with EGRESS_ALLOW.`,
        )
      }
    }
    return addresses
  }
}

export const portOf = (url: URL): number => Number(url.port) || (url.protocol === 'https:' ? 443 : 80)

const refused = (message: string) => new EgressError('egress-refused', message)
