import { canonicalJson, sha256Hex } from './canonical.ts'
import { AppError } from './errors.ts'

/**
 * A strong entity tag, `"state"` or `"state.derived"`. `state` is what callers write: a change of it makes an edit stale.
 * `derived` changes by itself (coming slots, a last use): a cached copy is then out of date, an edit is not.
 */
export function entityTag(state: unknown, derived?: unknown): string {
  const head = sha256Hex(canonicalJson(state)).slice(0, 32)
  return derived === undefined ? `"${head}"` : `"${head}.${sha256Hex(canonicalJson(derived)).slice(0, 16)}"`
}

/**
 * The precondition of a write, asked under the lock that the write holds. Without one everything goes; `*` asks for no
 * more than that the thing exists.
 */
export function requireMatch(ifMatch: string | null, current: string): void {
  if (ifMatch === null || ifMatch.trim() === '*') return
  const tags = readTags(ifMatch)
  if (!tags) {
    const detail = 'must be * or a list of entity tags as ETag gave them, in their double quotes'
    throw new AppError('invalid', `If-Match ${detail}.`, { errors: [{ pointer: '/headers/if-match', detail }] })
  }
  // Strong comparison: a weak tag names no state.
  if (tags.some((tag) => !tag.weak && stateOf(tag.text) === stateOf(current))) return
  throw new AppError('precondition-failed', 'It was changed since the version that If-Match names. Read it again.', {
    headers: { etag: current },
  })
}

/** True where a copy that the caller holds is still good. Weak comparison: proxies weaken the tags of what they compress. */
export function isCurrent(ifNoneMatch: string | null, current: string): boolean {
  if (ifNoneMatch === null) return false
  return ifNoneMatch.trim() === '*' || readTags(ifNoneMatch)?.some(({ text }) => text === current) === true
}

const stateOf = (tag: string): string => /^"[^".]*/.exec(tag)?.[0] ?? tag

/** Null where the header is no list of tags. */
function readTags(header: string): { text: string; weak: boolean }[] | null {
  const tags: { text: string; weak: boolean }[] = []
  const next = /[ \t,]*(W\/)?("[^"]*")[ \t]*(?=,|$)/y
  let end = 0
  for (let match = next.exec(header); match; match = next.exec(header)) {
    tags.push({ text: match[2]!, weak: match[1] !== undefined })
    end = next.lastIndex
  }
  return tags.length > 0 && /^[ \t,]*$/.test(header.slice(end)) ? tags : null
}
