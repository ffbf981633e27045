import type { Lookup } from './setting.ts'

/** A URL from POSTGRES_*, once its host or its database is named. */
export function databaseUrlFromParts(lookup: Lookup): string | undefined {
  const host = lookup('POSTGRES_HOST')
  const name = lookup('POSTGRES_DB')
  if (host === undefined && name === undefined) return undefined
  const password = lookup('POSTGRES_PASSWORD')
  const user = encodeURIComponent(lookup('POSTGRES_USER') ?? 'postgres')
  const login = password === undefined ? user : `${user}:${encodeURIComponent(password)}`
  const place = host?.includes(':') && !host.startsWith('[') ? `[${host}]` : (host ?? 'localhost')
  return `postgres://${login}@${place}:${lookup('POSTGRES_PORT') ?? '5432'}/${encodeURIComponent(name ?? 'postgres')}`
}

/** Looks at the host alone: the scheme itself contains "postgres", and a password may contain anything. */
export function withRequiredTls(databaseUrl: string): string {
  const url = new URL(databaseUrl)
  if (isLocal(url.hostname) || url.searchParams.has('sslmode') || url.searchParams.has('ssl')) return databaseUrl
  url.searchParams.set('sslmode', 'require')
  return url.href
}

const isLocal = (host: string) =>
  host === '' ||
  host === 'localhost' ||
  host.endsWith('.localhost') ||
  host === '[::1]' ||
  /^127\.\d+\.\d+\.\d+$/.test(host)
