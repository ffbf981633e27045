import type { Actor } from '../../context.ts'

/** Who sent a request, once that is verified: an API key of one of its two kinds, or a person with a token. */
export interface Caller {
  kind: 'server' | 'widget' | 'user'
  /** Of the key or the user. What a caller spends is counted under it, whatever the workspace. */
  id: string
  actor: Actor
  /** Of the workspace in which the caller acts. */
  workspaceSlug: string
  /** The name of its budget in the rate limiter. Made once: a request costs no text. */
  budget: string
  /** Requests a minute; null = the default. */
  rateLimit: number | null
  /** Pages that may use a widget key. */
  allowedDomains: string[]
  /** Whether a key may be used from an address; null = from any. */
  allowsAddress: ((address: string) => boolean) | null
}
