import type { Config } from '../config.ts'
import type { Egress, EgressOptions, Log } from '../context.ts'
import { EgressError } from '../lib/egress-error.ts'
import { createAllowList } from '../lib/net/host-pattern.ts'
import { createDestinationCheck } from './egress/destination.ts'
import { withLimits } from './egress/limits.ts'
import { nextHop, takeOutgoing, type Outgoing } from './egress/outgoing.ts'
import { createSecretInjector, type UsableCredential } from './egress/secrets.ts'

export type { UsableCredential } from './egress/secrets.ts'

export interface EgressParts {
  config: Pick<Config, 'egressAllow'>
  /** Sends one request, follows nothing, and connects to one of `addresses` alone; null: the platform resolves. */
  fetch: (request: Request, addresses: string[] | null) => Promise<Response>
  /** Every address of a name. Null where the platform cannot ask: then names and literals are all that is checked. */
  resolve: ((host: string) => Promise<string[]>) | null
  credentials: (workspaceId: string, slug: string) => Promise<UsableCredential | null>
  log: Log
}

const defaults = { maxResponseBytes: 10 * 1024 * 1024, timeoutMs: 30_000, maxRedirects: 5 }

/**
 * The guard. Each hop is checked, resolved, pinned and only then given its secrets, so nothing that a redirect or a
 * second DNS answer says can move a request, or a secret, to a place that was not checked.
 */
export function createEgress({ config, fetch, resolve, credentials, log }: EgressParts): Egress {
  const checkDestination = createDestinationCheck(createAllowList(config.egressAllow), resolve)

  return async (request, options = {}) => {
    const limits = withLimits({
      signals: [request.signal, options.signal],
      timeoutMs: options.timeoutMs ?? defaults.timeoutMs,
      maxBytes: options.maxResponseBytes ?? defaults.maxResponseBytes,
    })
    try {
      return limits.cap(await limits.race(follow(await takeOutgoing(request), options, limits.signal)))
    } catch (error) {
      limits.end()
      throw limits.explain(error)
    }
  }

  async function follow(first: Outgoing, options: EgressOptions, signal: AbortSignal): Promise<Response> {
    const secrets = createSecretInjector(options, credentials)
    const maxRedirects = options.maxRedirects ?? defaults.maxRedirects
    let outgoing = first
    for (let hop = 0; ; hop++) {
      const destination = await checkDestination(outgoing.url)
      const ready = await secrets.apply(outgoing, destination.trusted)
      signal.throwIfAborted()
      const response = await fetch(toRequest(ready, signal), destination.addresses)
      const next = nextHop(outgoing, response)
      if (next === null) return response
      // The connection is given back; what a redirect says besides its target is of no use.
      await response.body?.cancel()
      if (hop >= maxRedirects) throw new EgressError('egress-failed', `${outgoing.url.host} redirected too often.`)
      secrets.refuseLeak(next.url)
      log.debug('egress redirect', { from: outgoing.url.host, to: next.url.host })
      outgoing = next
    }
  }
}

function toRequest({ url, method, headers, body }: Outgoing, signal: AbortSignal): Request {
  return new Request(url, { method, headers, body, signal, redirect: 'manual' })
}
