import ipaddr from 'ipaddr.js'
import { z } from 'zod'
import { Secret } from '../lib/secret.ts'

/** How one kind of setting is written in the environment and what it becomes. */
export interface ValueType<T> {
  /** Completes "expects …" in a fault and stands in the documentation. */
  expects: string
  schema: z.ZodType<T, string>
}

const typed = <T>(expects: string, schema: z.ZodType<T, string>): ValueType<T> => ({ expects, schema })

/** A schema from a function that returns undefined for what it does not understand. */
function parsed<T>(expects: string, read: (text: string) => T | undefined): ValueType<T> {
  return typed(
    expects,
    z.string().transform((text, context) => {
      const value = read(text)
      if (value !== undefined) return value
      context.addIssue({ code: 'custom', message: `expects ${expects}` })
      return z.NEVER
    }),
  )
}

export const text = typed('text', z.string())
export const secretText = parsed('a secret text', (value) => new Secret(value))

export const secretMatching = (expects: string, accepts: (value: string) => boolean): ValueType<Secret> =>
  parsed(expects, (value) => (accepts(value) ? new Secret(value) : undefined))

export const choice = <const T extends string>(...options: readonly T[]): ValueType<T> =>
  parsed(`one of ${options.join(', ')}`, (value) => options.find((option) => option === value.toLowerCase()))

export const integer = (least: number, most: number): ValueType<number> =>
  parsed(`a whole number from ${least} to ${most}`, (value) => {
    if (!/^\d{1,9}$/.test(value)) return undefined
    const number = Number(value)
    return number >= least && number <= most ? number : undefined
  })

const truthy = new Set(['true', '1', 'yes', 'on'])
const falsy = new Set(['false', '0', 'no', 'off'])
export const flag: ValueType<boolean> = parsed('true or false', (value) => {
  const word = value.toLowerCase()
  return truthy.has(word) ? true : falsy.has(word) ? false : undefined
})

const httpUrl = (value: string): URL | undefined => {
  const url = URL.canParse(value) ? new URL(value) : undefined
  return url && (url.protocol === 'http:' || url.protocol === 'https:') ? url : undefined
}
/** Kept without a trailing slash, so that paths can be appended. */
export const webUrl: ValueType<string> = parsed('an http or https URL without query or fragment', (value) => {
  const url = httpUrl(value)
  return url && !url.search && !url.hash && !url.username ? url.href.replace(/\/+$/, '') : undefined
})

export const postgresUrl: ValueType<Secret> = secretMatching(
  'a URL like postgres://user:password@host:5432/name',
  (value) => {
    const url = URL.canParse(value) ? new URL(value) : undefined
    return url !== undefined && (url.protocol === 'postgres:' || url.protocol === 'postgresql:')
  },
)

export const smtpUrl: ValueType<Secret> = secretMatching('a URL like smtps://user:password@host:465', (value) => {
  const url = URL.canParse(value) ? new URL(value) : undefined
  return url !== undefined && (url.protocol === 'smtp:' || url.protocol === 'smtps:') && url.hostname !== ''
})

/** Goes into a header as it is: no character that could end or split it. */
export const emailSender: ValueType<string> = parsed(
  'an address, or a name and an address like Name <a@b.org>',
  (value) =>
    /^(?:[^\p{Cc}<>@,;"]+ <[^\s@<>,;:"]+@[^\s@<>,;:"]+>|[^\s@<>,;:"]+@[^\s@<>,;:"]+)$/u.test(value) ? value : undefined,
)

export const fraction: ValueType<number> = parsed('a number from 0 to 1', (value) => {
  const number = /^\d*\.?\d+$/.test(value) ? Number(value) : NaN
  return number >= 0 && number <= 1 ? number : undefined
})

/** As OpenTelemetry writes lists of pairs: `key=value,key2=value2`, values percent-encoded where they have to be. */
function readPairs(value: string): [string, string][] | undefined {
  const pairs: [string, string][] = []
  for (const item of value.split(',').filter((each) => each.trim() !== '')) {
    const match = /^\s*([!#$%&'*+.^_`|~\w-]+)\s*=\s*(.*?)\s*$/.exec(item)
    if (!match || /%(?![0-9a-f]{2})/i.test(match[2]!)) return undefined
    pairs.push([match[1]!, decodePercent(match[2]!)])
  }
  return pairs
}
const decodePercent = (value: string) => {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}
export const pairs: ValueType<readonly (readonly [string, string])[]> = parsed(
  'pairs like key=value,key2=value2',
  readPairs,
)
/** Pairs whose values are secrets, kept as one text of JSON. */
export const secretPairs: ValueType<Secret> = parsed('pairs like key=value,key2=value2', (value) => {
  const read = readPairs(value)
  return read && new Secret(JSON.stringify(Object.fromEntries(read)))
})

export const redisUrl: ValueType<Secret> = secretMatching('a URL like redis://:password@host:6379/0', (value) => {
  const url = URL.canParse(value) ? new URL(value) : undefined
  const known = url?.protocol === 'redis:' || url?.protocol === 'rediss:'
  return known && url!.hostname !== '' && /^(?:\/\d*)?$/.test(url!.pathname)
})

export const bucketName: ValueType<string> = parsed('3 to 63 lowercase letters, digits, dots and hyphens', (value) =>
  /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(value) ? value : undefined,
)
export const regionName: ValueType<string> = parsed('a name like eu-central-1', (value) =>
  /^[A-Za-z0-9-]{1,64}$/.test(value) ? value : undefined,
)

export interface Rate {
  limit: number
  windowSeconds: number
}
const windows = { second: 1, minute: 60, hour: 3600, day: 86_400 } as const
export const rate: ValueType<Rate> = parsed(
  'a rate like 60/minute (second, minute, hour or day) or a number a minute',
  (value) => {
    const match = /^(\d{1,9})(?:\/(second|minute|hour|day))?$/.exec(value)
    const limit = Number(match?.[1] ?? 0)
    if (!match || limit < 1) return undefined
    return { limit, windowSeconds: windows[(match[2] ?? 'minute') as keyof typeof windows] }
  },
)

/** A comma-separated list. `none` is the empty list: an empty variable counts as unset. */
function listOf(
  expects: string,
  readItem: (item: string) => readonly string[] | undefined,
): ValueType<readonly string[]> {
  return typed(
    `${expects}, or none`,
    z.string().transform((value, context) => {
      const items = value
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== '')
      if (items.length === 1 && items[0] === 'none') return []
      return items.flatMap((item) => {
        const result = readItem(item)
        if (result) return result
        context.addIssue({ code: 'custom', message: `expects ${expects}; not ${JSON.stringify(item)}` })
        return []
      })
    }),
  )
}

export const domainList = listOf('a comma-separated list of domains like example.org', (item) =>
  /^[\p{L}\p{N}](?:[\p{L}\p{N}.-]*[\p{L}\p{N}])?$/u.test(item) ? [item.toLowerCase()] : undefined,
)

export const textList = listOf('a comma-separated list of texts', (item) => [item])

export const origins = listOf('a comma-separated list of origins like https://app.example.com', (item) => {
  const url = httpUrl(item)
  return url && url.pathname === '/' && !url.search && !url.hash && !url.username && !item.includes('*')
    ? [url.origin]
    : undefined
})

const isCidr = (item: string) => ipaddr.isValidCIDR(item)
const isAddress = (item: string) => ipaddr.IPv6.isValid(item) || ipaddr.IPv4.isValidFourPartDecimal(item)
const toCidr = (address: string) => `${address}/${ipaddr.parse(address).kind() === 'ipv4' ? 32 : 128}`

const namedRanges: Record<string, readonly string[]> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7', 'fe80::/10'],
}
export const addressRanges = listOf(
  'a comma-separated list of addresses, CIDR ranges, loopback and private',
  (item) => {
    const named = namedRanges[item]
    if (named) return named
    if (isCidr(item)) return [item]
    return isAddress(item) ? [toCidr(item)] : undefined
  },
)

const hostName = /^(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\.?$/i
export const egressTargets = listOf('a comma-separated list of hosts, host:port pairs and CIDR ranges', (item) => {
  if (isCidr(item)) return [item]
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(item)
  const [host, port] = bracketed ? [bracketed[1]!, bracketed[2]] : isAddress(item) ? [item] : item.split(':', 2)
  const knownHost = bracketed ? ipaddr.IPv6.isValid(host!) : isAddress(host!) || hostName.test(host!)
  const knownPort = port === undefined || (/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535)
  const excess = !bracketed && !isAddress(item) && item.split(':').length > 2
  return knownHost && knownPort && !excess ? [item.toLowerCase()] : undefined
})

const isKey = (item: string) => {
  const match = /^[A-Za-z0-9_-]{1,32}:([A-Za-z0-9+/_-]+={0,2})$/.exec(item)
  if (!match) return false
  try {
    return atob(match[1]!.replaceAll('-', '+').replaceAll('_', '/')).length === 32
  } catch {
    return false
  }
}
export const keyRing = secretMatching(
  'a key ring id:base64[,id:base64…] of 32-byte keys, the first of which encrypts',
  (value) => {
    const items = value.split(',').map((item) => item.trim())
    return items.every(isKey) && new Set(items.map((item) => item.split(':')[0])).size === items.length
  },
)
