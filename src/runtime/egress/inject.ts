import { AwsClient } from 'aws4fetch'
import { EgressError } from '../../lib/egress-error.ts'
import { toHex } from '../../lib/hex.ts'
import type { Outgoing } from './outgoing.ts'
import { refused } from './destination.ts'

/** Marks a value as sent, so that it is not carried off by a redirect, and gives it back. */
type Use = (value: string) => string
type Fields = Readonly<Record<string, string>>
type Ready = Pick<Outgoing, 'url' | 'method' | 'headers' | 'body'>
type Injection = (fields: Fields, request: Ready, use: Use) => void | Promise<void>

const authorization =
  (scheme: string, field: string): Injection =>
  (fields, { headers }, use) =>
    setHeader(headers, 'authorization', `${scheme} ${use(fields[field] ?? '')}`)
const inHeader: Injection = (fields, { headers }, use) =>
  setHeader(headers, fields['name'] ?? '', (fields['prefix'] ?? '') + use(fields['value'] ?? ''))
const inQuery: Injection = (fields, { url }, use) =>
  url.searchParams.set(fields['name'] ?? '', use(fields['value'] ?? ''))

/** How each type of credential goes into a request, in the form that its service documents. */
const injections: { readonly [kind: string]: Injection } = {
  bearer: authorization('Bearer', 'token'),
  header: inHeader,
  query: inQuery,
  api_key: (fields, request, use) => (fields['in'] === 'query' ? inQuery : inHeader)(fields, request, use),
  basic({ username = '', password = '' }, { headers }, use) {
    use(password)
    const bytes = new TextEncoder().encode(`${username}:${password}`)
    setHeader(headers, 'authorization', `Basic ${use(btoa(String.fromCharCode(...bytes)))}`)
  },
  oauth2_client_credentials: authorization('Bearer', 'access_token'),
  oauth2_authorization_code: authorization('Bearer', 'access_token'),
  slack: authorization('Bearer', 'token'),
  discord: authorization('Bot', 'token'),
  telegram({ token = '' }, { url }, use) {
    // A redirect within the service has it already.
    if (!url.pathname.startsWith(`/bot${token}/`)) url.pathname = `/bot${use(token)}${url.pathname}`
  },
  s3: signS3,
}

export async function inject(kind: string, slug: string, fields: Fields, request: Ready, use: Use): Promise<void> {
  const injection = Object.hasOwn(injections, kind) ? injections[kind] : undefined
  if (!injection) {
    throw refused('credential', `The credential "${slug}" is of type ${kind}, which is not sent with an HTTP request.`)
  }
  await injection(fields, request, use)
}

/** AWS signature, version 4. The secret itself stays here, and the signature is good for this request alone. */
async function signS3(fields: Fields, { url, method, headers, body }: Ready): Promise<void> {
  const aws = new AwsClient({
    accessKeyId: fields['access_key_id'] ?? '',
    secretAccessKey: fields['secret_access_key'] ?? '',
    ...(fields['session_token'] && { sessionToken: fields['session_token'] }),
    region: fields['region'] ?? 'us-east-1',
    service: 's3',
  })
  const digest = await crypto.subtle.digest('SHA-256', body ?? new Uint8Array())
  const signed = await aws.sign(url.href, {
    method,
    headers: { 'x-amz-content-sha256': toHex(new Uint8Array(digest)) },
    ...(body && { body }),
  })
  for (const [name, value] of signed.headers) {
    if (name === 'authorization' || name.startsWith('x-amz-')) setHeader(headers, name, value)
  }
}

/** The platform's own error would quote the value. */
export function setHeader(headers: Headers, name: string, value: string): void {
  try {
    headers.set(name, value)
  } catch {
    throw new EgressError('egress-refused', `The value of the header "${name}" is not one that a header can carry.`, {
      reason: 'credential',
    })
  }
}
