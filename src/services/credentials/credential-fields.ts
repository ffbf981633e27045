import type { Fault } from '../../lib/errors.ts'

/** What each kind of credential holds. `secret('slug.field')` names one of these fields. */
export interface CredentialFields {
  bearer: { token: string }
  basic: { username: string; password: string }
  header: { name: string; value: string }
  query: { name: string; value: string }
}
export type CredentialKind = keyof CredentialFields
export type CredentialSecret = { [K in CredentialKind]: { kind: K; fields: CredentialFields[K] } }[CredentialKind]

export const fieldNames = {
  bearer: ['token'],
  basic: ['username', 'password'],
  header: ['name', 'value'],
  query: ['name', 'value'],
} as const satisfies Record<CredentialKind, readonly string[]>

// What the connection itself needs, or what would address another host than the one that is checked.
const reservedHeaders = new Set([
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
])
// What a header value may be, so that it cannot end its line: visible ASCII and inner blanks.
const headerValue = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/

/** Faults of the secret itself; they never repeat a value. */
export function checkFields(secret: CredentialSecret): Fault[] {
  const faults: Fault[] = []
  const fault = (field: string, detail: string) => faults.push({ pointer: `/fields/${field}`, detail })
  switch (secret.kind) {
    case 'bearer':
      if (!/^[\x21-\x7e]+$/.test(secret.fields.token)) fault('token', 'must be visible ASCII without blanks')
      break
    case 'basic':
      if (/[:\p{Cc}]/u.test(secret.fields.username)) fault('username', 'must hold no colon and no control characters')
      if (/\p{Cc}/u.test(secret.fields.password)) fault('password', 'must hold no control characters')
      break
    case 'header':
      if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(secret.fields.name)) fault('name', 'must be a header name')
      else if (reservedHeaders.has(secret.fields.name.toLowerCase()))
        fault('name', 'must not be a header of the connection')
      if (!headerValue.test(secret.fields.value)) fault('value', 'must be visible ASCII, blanks only inside')
      break
    case 'query':
      if (/\p{Cc}/u.test(secret.fields.value)) fault('value', 'must hold no control characters')
      break
  }
  return faults
}
