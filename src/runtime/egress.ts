import type { Config } from '../config.ts'
import type { Egress, EgressOptions, EgressPurpose, Log } from '../context.ts'
import { EgressError, type RefusalReason } from '../lib/egress-error.ts'
import { createAllowList } from '../lib/net/host-pattern.ts'
import { createDestinationCheck, refused, type EgressRules } from './egress/destination.ts'
import { withLimits } from './egress/limits.ts'
import { nextHop, takeOutgoing, type Outgoing } from './egress/outgoing.ts'
import { createSecretInjector, type FindCredential } from './egress/secrets.ts'

export type { UsableCredential } from './egress/secrets.ts'

/** A request that carried a credential, and what came of it. */
export interface CredentialUse extends EgressPurpose {
  workspaceId: string
  credentialId: string
  host: string
  /** `sent`, or the kind of the failure. */
  outcome: string
  status: number | null
}
export interface Refusal extends EgressPurpose {
  workspaceId: string
  host: string
  reason: RefusalReason
}

export interface EgressParts {
  config: Pick<Config, 'egressAllow'>
  /** Sends one request, follows nothing, and connects to one of `addresses` alone; null: the platform resolves. */
  fetch: (request: Request, addresses: string[] | null) => Promise<Response>
  /** Every address of a name. Null where the platform cannot ask: then names and literals are all that is checked. */
  resolve: ((host: string) => Promise<string[]>) | null
  credentials: FindCredential
  /** Absent: no workspace has rules. */
  rules?: (workspaceId: string) => Promise<EgressRules | null>
  /** Told of every use, in time for a batch. Must not throw. */
  onUse?: (use: CredentialUse) => void
  /** Told of every refusal. Must not throw. */
  onRefused?: (refusal: Refusal) => void
  log: Log
}

const defaults = { maxResponseBytes: 10 * 1024 * 1024, timeoutMs: 30_000, maxRedirects: 5 }

/**
 * The guard. Each hop is checked, resolved, pinned and only then given its secrets, so nothing that a redirect or a
 * second DNS answer says can move a request, or a secret, to a place that was not checked.
 */
export function createEgress(parts: EgressParts): Egress {
  const { config, fetch, resolve, credentials, log } = parts
  const destinations = createDestinationCheck(createAllowList(config.egressAllow), resolve)

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
    const { workspaceId } = options
    const secrets = createSecretInjector(options, credentials, signal)
    secrets.begin()
    const rules = workspaceId === undefined ? null : ((await parts.rules?.(workspaceId)) ?? null)
    const maxRedirects = options.maxRedirects ?? defaults.maxRedirects
    let outgoing = first
    try {
      for (let hop = 0; ; hop++) {
        const destination = await destinations.url(outgoing.url, rules)
        if (options.confidential && outgoing.url.protocol !== 'https:' && !destination.trusted)
          throw refused('credential', `A secret is not sent to ${outgoing.url.host} without https.`)
        const ready = await secrets.apply(outgoing, destination.trusted)
        signal.throwIfAborted()
        const response = await send(ready, destination.addresses)
        const next = nextHop(outgoing, response)
        if (next === null) return response
        // The connection is given back; what a redirect says besides its target is of no use.
        await response.body?.cancel()
        if (hop >= maxRedirects) throw new EgressError('egress-failed', `${outgoing.url.host} redirected too often.`)
        outgoing = next
        secrets.refuseLeak(next.url)
        log.debug('egress redirect', { from: ready.url.host, to: next.url.host })
      }
    } catch (error) {
      const reason = error instanceof EgressError ? error.reason : null
      if (workspaceId !== undefined && reason !== null && !isTold(error as EgressError))
        parts.onRefused?.({ ...options.by, workspaceId, host: outgoing.url.host, reason })
      throw error
    }

    async function send(ready: Outgoing, addresses: string[] | null): Promise<Response> {
      const tell = (outcome: string, status: number | null) => {
        if (workspaceId === undefined) return
        for (const credentialId of secrets.used)
          parts.onUse?.({ ...options.by, workspaceId, credentialId, host: ready.url.host, outcome, status })
        secrets.used.clear()
      }
      try {
        const response = await fetch(toRequest(ready, signal), addresses)
        tell('sent', response.status)
        return response
      } catch (error) {
        tell(signal.reason instanceof EgressError ? signal.reason.kind : 'egress-failed', null)
        throw error
      }
    }
  }
}

/** What a request for a token was refused passes through the request that needs the token: it is told once, of its own host. */
const told = new WeakSet<EgressError>()
function isTold(error: EgressError): boolean {
  const isKnown = told.has(error)
  told.add(error)
  return isKnown
}

function toRequest({ url, method, headers, body }: Outgoing, signal: AbortSignal): Request {
  return new Request(url, { method, headers, body, signal, redirect: 'manual' })
}
