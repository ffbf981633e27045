/** Goes into the audit log: added freely, never renamed. */
export type RefusalReason = 'url' | 'address' | 'port' | 'denied' | 'not-allowed' | 'credential' | 'leak'
export type EgressErrorKind = 'egress-refused' | 'egress-failed' | 'egress-timeout' | 'egress-too-large'

/**
 * An outbound request that was not made or not finished. The message names the host at most, never a query, a header
 * or a secret, so it may be shown to the tenant.
 */
export class EgressError extends Error {
  readonly kind: EgressErrorKind
  /** Of a refusal: which rule it was. */
  readonly reason: RefusalReason | null
  constructor(kind: EgressErrorKind, message: string, options: { cause?: unknown; reason?: RefusalReason } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.reason = options.reason ?? null
    this.name = 'EgressError'
    this.kind = kind
  }
}
