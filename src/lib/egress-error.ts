export type EgressErrorKind = 'egress-refused' | 'egress-failed' | 'egress-timeout' | 'egress-too-large'

/**
 * An outbound request that was not made or not finished. The message names the host at most, never a query, a header
 * or a secret, so it may be shown to the tenant.
 */
export class EgressError extends Error {
  readonly kind: EgressErrorKind
  constructor(kind: EgressErrorKind, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'EgressError'
    this.kind = kind
  }
}
