import { inCidr, parseAddress, parseCidr, type Cidr } from './address.ts'
import { canonicalHost } from './host.ts'

/** `host`, `host:port`, `*.suffix`, `*.suffix:port`. Without a port every port matches. `*.suffix` does not match the suffix itself. */
export interface HostPattern {
  host: string
  wildcard: boolean
  port: number | null
}

export function parseHostPattern(text: string): HostPattern | null {
  const match = /^(\*\.)?(\[[0-9a-f:.]+\]|[^\s:/@?#[\]*\\]+)(?::(\d{1,5}))?$/i.exec(text.trim())
  if (!match) return ipv6Pattern(text.trim())
  const [, star, rawHost = '', rawPort] = match
  const port = rawPort === undefined ? null : Number(rawPort)
  if (port !== null && (port < 1 || port > 65_535)) return null
  const host = asciiHost(rawHost)
  if (host === null) return null
  if (star && parseAddress(host)) return null
  return { host, wildcard: star !== undefined, port }
}

/** `*.com` binds a secret to nothing: anyone can have a host under it. */
export const coversTopLevel = ({ host, wildcard }: HostPattern): boolean => wildcard && !host.includes('.')

export function matchesHostPattern(pattern: HostPattern, host: string, port: number): boolean {
  if (pattern.port !== null && pattern.port !== port) return false
  const name = canonicalHost(host)
  return pattern.wildcard ? name.endsWith(`.${pattern.host}`) : name === pattern.host
}

/** As it is stored and shown: canonical, so that one host has one spelling. */
export function formatHostPattern({ host, wildcard, port }: HostPattern): string {
  const shown = host.includes(':') && port !== null ? `[${host}]` : host
  return `${wildcard ? '*.' : ''}${shown}${port === null ? '' : `:${port}`}`
}

export interface AllowList {
  /** The operator named this host. */
  allowsHost(host: string, port: number): boolean
  /** The operator named this address, alone or in a range. */
  allowsAddress(address: string, port: number): boolean
}

/** EGRESS_ALLOW. What cannot be read allows nothing; the config has refused it before. */
export function createAllowList(entries: readonly string[]): AllowList {
  const ranges = entries.map(parseCidr).filter((range): range is Cidr => range !== null)
  const patterns = entries.filter((entry) => !parseCidr(entry)).flatMap((entry) => parseHostPattern(entry) ?? [])
  return {
    allowsHost: (host, port) => patterns.some((pattern) => matchesHostPattern(pattern, host, port)),
    allowsAddress(address, port) {
      const parsed = parseAddress(address)
      if (!parsed) return false
      return (
        ranges.some((range) => inCidr(parsed, range)) ||
        patterns.some((pattern) => matchesHostPattern(pattern, address, port))
      )
    },
  }
}

function ipv6Pattern(text: string): HostPattern | null {
  return text.includes(':') && !text.startsWith('[') && parseAddress(text)
    ? { host: canonicalHost(text), wildcard: false, port: null }
    : null
}

/** The URL parser's own view of a host (punycode, odd IPv4 spellings), so that a pattern and a request agree. */
function asciiHost(host: string): string | null {
  try {
    const { hostname } = new URL(`http://${host}/`)
    return hostname === '' || hostname.includes('%') ? null : canonicalHost(hostname)
  } catch {
    return null
  }
}
