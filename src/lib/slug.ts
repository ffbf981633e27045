import { isUuid } from './ids.ts'

/** Segments that follow a collection's path, so no slug may look like one. */
export const reservedSlugs: ReadonlySet<string> = new Set([
  'validate',
  'pause',
  'resume',
  'active',
  'stats',
  'versions',
  'executions',
  'execute',
  'export',
  'import',
  'diff',
  'new',
  'current',
])

const maxLength = 63

/** Why a text is no slug; null for one that is. */
export function faultOfSlug(slug: string): string | null {
  if (!/^[a-z][a-z0-9-]{1,62}$/.test(slug)) return 'must match [a-z][a-z0-9-]{1,62}'
  if (isUuid(slug)) return 'must not look like an id'
  if (reservedSlugs.has(slug)) return `must not be ${slug}, which is part of a path`
  return null
}

/** A slug made from a name in any script; `fallback` where the name leaves nothing to make it from. */
export function slugOf(name: string, fallback: string): string {
  const plain = name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 200)
    .replace(/^[^a-z]+/, '')
    .slice(0, maxLength)
    .replace(/-+$/, '')
  if (faultOfSlug(plain) === null) return plain
  const longer = `${fallback}-${plain}`.slice(0, maxLength).replace(/-+$/, '')
  return faultOfSlug(longer) === null ? longer : fallback
}

/** `digest`, `digest-2`, `digest-3` …: the n-th variant, within the length of a slug. */
export function numberedSlug(slug: string, n: number): string {
  if (n <= 1) return slug
  const suffix = `-${n}`
  return slug.slice(0, maxLength - suffix.length).replace(/-+$/, '') + suffix
}
