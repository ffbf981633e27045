import type { Lookup } from './setting.ts'

const clerkPath = '/.well-known/jwks.json'

/** Clerk's tokens name the host that publishes their keys. Of other providers nothing is assumed. */
export function issuerOfClerk(lookup: Lookup): string | undefined {
  const url = lookup('CLERK_JWKS_URL')
  if (url === undefined || url !== lookup('AUTH_JWKS_URL') || !url.endsWith(clerkPath)) return undefined
  return url.slice(0, -clerkPath.length)
}

/** What is missing for tokens to be checked as a whole. */
export function identityProviderFaults(lookup: Lookup): { variable: string; detail: string }[] {
  const keys = lookup('AUTH_JWKS_URL')
  if (keys === undefined) {
    if (lookup('AUTH_ISSUER') === undefined) return []
    return [{ variable: 'AUTH_JWKS_URL', detail: 'is required with AUTH_ISSUER: it says where its keys are.' }]
  }
  const faults = []
  if (lookup('AUTH_ISSUER') === undefined) {
    faults.push({ variable: 'AUTH_ISSUER', detail: 'is required with AUTH_JWKS_URL: the exact `iss` of the tokens.' })
  }
  if (keys !== lookup('CLERK_JWKS_URL') && lookup('AUTH_AUDIENCE') === undefined) {
    faults.push({
      variable: 'AUTH_AUDIENCE',
      detail:
        'is required with AUTH_JWKS_URL: without it a token for any other application of the issuer would do. To accept that, set it to none.',
    })
  }
  return faults
}

export function identityProviderWarnings(lookup: Lookup): string[] {
  const keys = lookup('AUTH_JWKS_URL')
  if (keys === undefined || !URL.canParse(keys)) return []
  const { protocol, hostname } = new URL(keys)
  const isSafe =
    protocol === 'https:' || hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.')
  const isOpen = lookup('AUTH_SIGN_UP') !== 'members'
  const isBound = lookup('AUTH_AUDIENCE') !== undefined || lookup('AUTH_AUTHORIZED_PARTIES') !== undefined
  return [
    ...(isSafe
      ? []
      : ['AUTH_JWKS_URL is read without TLS: whoever can change that answer on its way can sign in as anybody.']),
    ...(isOpen
      ? [
          'Whoever the identity provider lets in gets a workspace here and may spend the model keys of this installation. AUTH_SIGN_UP=members admits known users only.',
        ]
      : []),
    ...(isBound
      ? []
      : [
          'Any token of the issuer is accepted, also one made for another application. Set AUTH_AUTHORIZED_PARTIES or AUTH_AUDIENCE.',
        ]),
  ]
}
