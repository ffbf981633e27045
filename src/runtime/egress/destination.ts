import { EgressError, type RefusalReason } from '../../lib/egress-error.ts'
import { classifyAddress, parseAddress } from '../../lib/net/address.ts'
import { canonicalHost, whyNotPublic } from '../../lib/net/host.ts'
import type { AllowList } from '../../lib/net/host-pattern.ts'
import { isClosedPort } from '../../lib/net/ports.ts'

export interface Destination {
  /** Checked addresses, of which one is connected to; null where the platform resolves. */
  addresses: string[] | null
  /** Opened by the operator in EGRESS_ALLOW, by its name or by its addresses. */
  trusted: boolean
}

/** What a workspace says of destinations. It can close what the operator leaves open, and never open what is closed. */
export interface EgressRules {
  deny: AllowList
  /** Null: every destination is allowed that is not denied. */
  allow: AllowList | null
}

type Resolve = ((host: string) => Promise<string[]>) | null

export interface DestinationCheck {
  /** Decides whether a URL may be called, and at which addresses. */
  url(url: URL, rules: EgressRules | null): Promise<Destination>
  /** The same for a connection that speaks something else than HTTP, whose port is what it is for. */
  socket(hostname: string, port: number, rules: EgressRules | null): Promise<Destination>
}

/** Throws EgressError; the message never tells an address that a name resolves to. */
export function createDestinationCheck(operator: AllowList, resolve: Resolve): DestinationCheck {
  return {
    async url(url, rules) {
      if (url.protocol !== 'http:' && url.protocol !== 'https:')
        throw refused('url', `${url.protocol} addresses are not called.`)
      if (url.username !== '' || url.password !== '')
        throw refused('url', 'A URL must not carry a user name or a password.')
      return check(url.hostname, portOf(url), rules, true)
    },
    socket: (hostname, port, rules) => check(hostname, port, rules, false),
  }

  async function check(
    hostname: string,
    port: number,
    rules: EgressRules | null,
    speaksHttp: boolean,
  ): Promise<Destination> {
    const host = canonicalHost(hostname)
    const literal = parseAddress(host)
    const named = operator.allowsHost(host, port) || (literal !== null && operator.allowsAddress(host, port))
    if (!named) {
      const reason = whyNotPublic(host)
      if (reason) throw refused('address', `${host} ${reason}. An operator can open it with EGRESS_ALLOW.`)
    }
    const addresses = literal ? [host] : resolve ? await resolveChecked(resolve, host, port, named) : null
    const trusted = named || (addresses?.every((address) => operator.allowsAddress(address, port)) ?? false)
    if (speaksHttp && !trusted && isClosedPort(port)) {
      throw refused(
        'port',
        `Port ${port} of ${host} is no port of a web server. An operator can open it with EGRESS_ALLOW.`,
      )
    }
    if (rules) obey(rules, host, port, addresses)
    return { addresses, trusted }
  }

  async function resolveChecked(
    resolve: NonNullable<Resolve>,
    host: string,
    port: number,
    trusted: boolean,
  ): Promise<string[]> {
    const addresses = await resolve(host).catch((cause: unknown) => {
      throw new EgressError('egress-failed', `${host} cannot be resolved.`, { cause })
    })
    if (addresses.length === 0) throw new EgressError('egress-failed', `${host} has no address.`)
    for (const text of addresses) {
      const address = parseAddress(text)
      const kind = address === null ? 'unknown' : classifyAddress(address)
      // A name that the operator trusts may be private, but its DNS must not point it at a metadata service.
      const trustworthy = trusted && kind !== 'metadata' && kind !== 'unknown'
      const open = kind === 'public' || trustworthy || operator.allowsAddress(text, port)
      // One bad answer refuses them all: which one a client would take is the attacker's game.
      if (!open) {
        throw refused(
          'address',
          `${host} resolves to an address that is not public (${kind}). An operator can open it with EGRESS_ALLOW.`,
        )
      }
    }
    return addresses
  }
}

/** Denial wins. An address counts for each of a name's addresses: one that is denied denies, all must be allowed. */
function obey({ deny, allow }: EgressRules, host: string, port: number, addresses: string[] | null): void {
  if (deny.allowsHost(host, port) || addresses?.some((address) => deny.allowsAddress(address, port)))
    throw refused('denied', `A rule of the workspace denies ${host}.`)
  if (allow && !allow.allowsHost(host, port) && !addresses?.every((address) => allow.allowsAddress(address, port)))
    throw refused('not-allowed', `${host} is not among what the rules of the workspace allow.`)
}

export const portOf = (url: URL): number => Number(url.port) || (url.protocol === 'https:' ? 443 : 80)

export const refused = (reason: RefusalReason, message: string) =>
  new EgressError('egress-refused', message, { reason })
