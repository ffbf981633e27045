import { z } from 'zod'
import type { ValueType } from './value-types.ts'

/** An identity provider whose tokens count. */
export interface Issuer {
  /** The `iss` of its tokens, to the letter. */
  issuer: string
  jwksUrl: string
  /** `clerk`: organizations in its tokens are workspaces here. */
  kind: 'clerk' | 'oidc'
  /** One of which `aud` must name; empty = not checked. */
  audience: readonly string[]
  /** One of which `azp` must be; empty = not checked. */
  authorizedParties: readonly string[]
}

const texts = z.union([
  z
    .string()
    .min(1)
    .transform((text) => [text]),
  z.array(z.string().min(1)),
])

const item = z
  .strictObject({
    issuer: z.string().min(1),
    kind: z.enum(['clerk', 'oidc']).default('oidc'),
    jwks_url: z.url({ protocol: /^https?$/ }).optional(),
    audience: texts.optional(),
    authorized_parties: texts.optional(),
  })
  .transform((given, context): Issuer => {
    const { issuer, kind, jwks_url, audience, authorized_parties } = given
    const fault = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message })
    if (kind === 'oidc' && jwks_url === undefined) fault('jwks_url', 'is required: it says where the keys are')
    if (kind === 'oidc' && audience === undefined) fault('audience', 'is required; none checks no audience')
    return {
      issuer,
      jwksUrl: jwks_url ?? `${issuer}/.well-known/jwks.json`,
      kind,
      audience: audience === undefined || audience.join() === 'none' ? [] : audience,
      authorizedParties: authorized_parties ?? [],
    }
  })

const list = z.array(item).refine((all) => new Set(all.map(({ issuer }) => issuer)).size === all.length, {
  message: 'an issuer is there twice',
})

/** AUTH_ISSUERS. */
export const issuerList: ValueType<readonly Issuer[]> = {
  expects: 'a JSON list of objects with issuer, kind, jwks_url, audience and authorized_parties',
  schema: z.string().transform((text, context): readonly Issuer[] => {
    const result = list.safeParse(parse(text))
    if (result.success) return result.data
    for (const { path, message } of result.error.issues) {
      const where = path.length > 0 ? ` (${path.join('.')}: ${message})` : ` (${message})`
      context.addIssue({ code: 'custom', message: `expects ${issuerList.expects}${where}` })
    }
    return z.NEVER
  }),
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
