import type { Config } from '../../config.ts'
import type { Issuer } from '../../config/issuers.ts'

export type { Issuer } from '../../config/issuers.ts'

const known = new WeakMap<object, readonly Issuer[]>()

/** Whose tokens count: the one of AUTH_JWKS_URL, and those of AUTH_ISSUERS. */
export function issuersOf(config: Config): readonly Issuer[] {
  let issuers = known.get(config)
  if (!issuers) known.set(config, (issuers = [...singleIssuer(config), ...(config.authIssuers ?? [])]))
  return issuers
}

function singleIssuer(config: Config): Issuer[] {
  const { authJwksUrl, authIssuer, authAudience, authAuthorizedParties, clerkJwksUrl } = config
  if (authJwksUrl === null || authIssuer === null) return []
  return [
    {
      issuer: authIssuer,
      jwksUrl: authJwksUrl,
      kind: authJwksUrl === clerkJwksUrl ? 'clerk' : 'oidc',
      audience: authAudience ?? [],
      authorizedParties: authAuthorizedParties ?? [],
    },
  ]
}
