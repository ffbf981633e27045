import type { Lookup } from './setting.ts'

/** A URL from REDIS_*, once its host is named. */
export function redisUrlFromParts(lookup: Lookup): string | undefined {
  const host = lookup('REDIS_HOST')
  if (host === undefined) return undefined
  const password = lookup('REDIS_PASSWORD')
  const login = password === undefined ? '' : `:${encodeURIComponent(password)}@`
  const place = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
  return `redis://${login}${place}:${lookup('REDIS_PORT') ?? '6379'}`
}
