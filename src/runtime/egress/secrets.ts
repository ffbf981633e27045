import type { EgressOptions } from '../../context.ts'
import { hasSecretPlaceholder, replaceSecretPlaceholders } from '../../lib/language/secrets.ts'
import { matchesHostPattern, parseHostPattern } from '../../lib/net/host-pattern.ts'
import { portOf, refused as because } from './destination.ts'
import { inject, setHeader } from './inject.ts'
import type { Outgoing } from './outgoing.ts'

/** A credential as the guard uses it: opened, with the hosts that it is bound to. */
export interface UsableCredential {
  id: string
  slug: string
  kind: string
  hosts: string[]
  fields: Readonly<Record<string, string>>
  /** Where a field `access_token` has to be asked for, which is done once the host is known to be bound. */
  accessToken?: () => Promise<string>
}
/** Finds one of a workspace by slug or id. */
export type FindCredential = (
  workspaceId: string,
  credential: string,
  signal: AbortSignal,
) => Promise<UsableCredential | null>

export interface SecretInjector {
  /** Ids of the credentials that have gone into the request; whoever has told of them clears it. */
  readonly used: Set<string>
  /** Reads the credential ahead, while something else is waited for; what comes of it shows in `apply`. */
  begin(): void
  /** A copy with its secrets in place. Throws unless every one of them is bound to the host. */
  apply(outgoing: Outgoing, trusted: boolean): Promise<Outgoing>
  /** Throws when a redirect would carry a secret that was sent on to a host that the secret is not bound to. */
  refuseLeak(target: URL): void
}

/**
 * Secrets enter a request here, once its host is known and checked, and nowhere else. `template` requests keep their
 * placeholders, so a redirect starts again from a request without secrets.
 */
export function createSecretInjector(
  { workspaceId, credential, secrets }: Pick<EgressOptions, 'workspaceId' | 'credential' | 'secrets'>,
  load: FindCredential,
  signal: AbortSignal,
): SecretInjector {
  const loaded = new Map<string, Promise<UsableCredential>>()
  const completed = new Map<string, Promise<UsableCredential>>()
  const used = new Set<string>()
  const sent: { value: string; owner: UsableCredential }[] = []

  const find = (slug: string): Promise<UsableCredential> => {
    let promise = loaded.get(slug)
    if (!promise) loaded.set(slug, (promise = findNow(slug)))
    return promise
  }
  const findNow = async (slug: string) => {
    if (workspaceId === undefined || secrets === false) throw refused('Credentials cannot be used here.')
    const found = await load(workspaceId, slug, signal)
    if (!found) throw refused(`There is no credential "${slug}".`)
    return found
  }
  /** The credential, if it may go to this URL. */
  const findFor = async (slug: string, url: URL, trusted: boolean) => {
    const found = await find(slug)
    if (!isBound(found, url)) throw refused(`The credential "${slug}" is not bound to ${url.host}.`)
    if (url.protocol !== 'https:' && !trusted) {
      throw refused(`The credential "${slug}" is not sent to ${url.host} without https.`)
    }
    if (!found.accessToken) return found
    let whole = completed.get(found.id)
    if (!whole) completed.set(found.id, (whole = complete(found, found.accessToken)))
    return whole
  }
  const complete = async (found: UsableCredential, accessToken: () => Promise<string>) => ({
    ...found,
    fields: { ...found.fields, access_token: await accessToken() },
  })
  const use = (value: string, owner: UsableCredential) => {
    used.add(owner.id)
    if (value !== '') sent.push({ value, owner })
    return value
  }

  return {
    used,
    begin() {
      if (credential !== undefined) find(credential).catch(() => {})
    },
    async apply(template, trusted) {
      const { url: from } = template
      const outside = from.origin + from.pathname
      if (hasSecretPlaceholder(outside)) {
        throw refused(
          'secret() stands in the host or path of a URL; it may stand in the query, a header or a text body.',
        )
      }
      const lookup = async (ref: string) => {
        const dot = ref.indexOf('.')
        const owner = await findFor(ref.slice(0, dot), from, trusted)
        const name = ref.slice(dot + 1)
        const value = Object.hasOwn(owner.fields, name) ? owner.fields[name] : undefined
        if (value === undefined) throw refused(`The credential "${owner.slug}" has no such field.`)
        return use(value, owner)
      }

      const url = new URL(from)
      if (hasSecretPlaceholder(url.search)) {
        url.search = await replaceSecretPlaceholders(url.search, async (ref) => encodeURIComponent(await lookup(ref)))
      }
      const headers = new Headers()
      for (const [name, value] of template.headers) {
        if (hasSecretPlaceholder(name)) throw refused('secret() stands in the name of a header.')
        // Across origins a header with a secret is dropped, as authorization is; it is not an error of the request.
        if (!template.credentialed && hasSecretPlaceholder(value)) continue
        setHeader(headers, name, await replaceSecretPlaceholders(value, lookup))
      }
      const body = await replaceInBody(template, lookup)

      if (credential !== undefined && template.credentialed) {
        const owner = await findFor(credential, from, trusted)
        await inject(owner.kind, owner.slug, owner.fields, { ...template, url, headers, body }, (value) =>
          use(value, owner),
        )
        used.add(owner.id)
      }
      return { ...template, url, headers, body }
    },

    refuseLeak(target) {
      const text = target.href
      for (const { value, owner } of sent) {
        if (isBound(owner, target) || value.length < 6) continue
        if (text.includes(value) || text.includes(encodeURIComponent(value))) {
          throw because('leak', `A redirect to ${target.host} would carry a secret that is not bound to it.`)
        }
      }
    },
  }
}

const isBound = ({ hosts }: UsableCredential, url: URL) =>
  hosts.some((text) => {
    const pattern = parseHostPattern(text)
    return pattern !== null && matchesHostPattern(pattern, url.hostname, portOf(url))
  })

async function replaceInBody(
  { headers, body }: Outgoing,
  lookup: (ref: string) => Promise<string>,
): Promise<Outgoing['body']> {
  if (body === null) return null
  const text = decodeText(body)
  if (text === null || !hasSecretPlaceholder(text)) return body
  const type = headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() ?? ''
  const escape = escapeFor(type)
  return new Uint8Array(
    new TextEncoder().encode(await replaceSecretPlaceholders(text, async (ref) => escape(await lookup(ref)))),
  )
}

/** A secret with a quote or an ampersand stays one value in the body that carries it. */
function escapeFor(type: string): (value: string) => string {
  if (type === 'application/json' || type.endsWith('+json')) return (value) => JSON.stringify(value).slice(1, -1)
  if (type === 'application/x-www-form-urlencoded') return encodeURIComponent
  return (value) => value
}

function decodeText(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
}

const refused = (message: string) => because('credential', message)
