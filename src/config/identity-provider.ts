import { issuerList, type Issuer } from './issuers.ts'
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
  const issuer = lookup('AUTH_ISSUER')
  if (keys === undefined) {
    if (issuer === undefined) return []
    return [{ variable: 'AUTH_JWKS_URL', detail: 'is required with AUTH_ISSUER: it says where its keys are.' }]
  }
  const faults = []
  if (issuer === undefined) {
    faults.push({ variable: 'AUTH_ISSUER', detail: 'is required with AUTH_JWKS_URL: the exact `iss` of the tokens.' })
  }
  if (further(lookup).some((other) => other.issuer === issuer)) {
    faults.push({ variable: 'AUTH_ISSUERS', detail: 'names the issuer of AUTH_ISSUER again.' })
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
  const isBound = lookup('AUTH_AUDIENCE') !== undefined || lookup('AUTH_AUTHORIZED_PARTIES') !== undefined
  const all = [
    ...(keys === undefined ? [] : [{ variable: 'AUTH_JWKS_URL', jwksUrl: keys, isBound }]),
    ...further(lookup).map(({ issuer, jwksUrl, audience, authorizedParties }) => ({
      variable: `The jwks_url of ${issuer}`,
      jwksUrl,
      isBound: audience.length + authorizedParties.length > 0,
    })),
  ]
  if (all.length === 0) return []
  const isOpen = lookup('AUTH_SIGN_UP') !== 'members'
  return [
    ...all
      .filter(({ jwksUrl }) => !isSafe(jwksUrl))
      .map(
        ({ variable }) =>
          `${variable} is read without TLS: whoever can change that answer on its way can sign in as anybody.`,
      ),
    ...(isOpen
      ? [
          'Whoever the identity provider lets in gets a workspace here and may spend the model keys of this installation. AUTH_SIGN_UP=members admits known users only.',
        ]
      : []),
    ...(all.every(({ isBound }) => isBound)
      ? []
      : [
          'Any token of the issuer is accepted, also one made for another application. Set AUTH_AUTHORIZED_PARTIES or AUTH_AUDIENCE.',
        ]),
  ]
}

function further(lookup: Lookup): readonly Issuer[] {
  const text = lookup('AUTH_ISSUERS')
  return text === undefined ? [] : (issuerList.schema.safeParse(text).data ?? [])
}

function isSafe(url: string): boolean {
  if (!URL.canParse(url)) return true
  const { protocol, hostname } = new URL(url)
  return protocol === 'https:' || hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.')
}
