/**
 * Whether a page may use a key with this list. An entry is a bare host, a host with a port (that port only), or `*.` and a
 * host (its subdomains, not itself); `*`, which no key can be given, is any. An empty list, the origin `null` and an unknown
 * origin match nothing.
 */
export function domainAllows(allowed: readonly string[], origin: string | null): boolean {
  if (origin === null || !URL.canParse(origin)) return false
  const { protocol, hostname, port } = new URL(origin)
  if (protocol !== 'https:' && protocol !== 'http:') return false
  const actualPort = port || (protocol === 'https:' ? '443' : '80')
  return allowed.some((entry) => {
    if (entry === '*') return true
    const match = /^(\*\.)?(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(entry.trim().toLowerCase())
    if (!match) return false
    const [, wildcard, host, entryPort] = match
    if (entryPort !== undefined && entryPort !== actualPort) return false
    return wildcard ? hostname.endsWith(`.${host}`) : hostname === host
  })
}
