import { isObject, type Json } from '../../lib/json.ts'
import { checkTree } from '../../lib/language/tree.ts'
import { hasTemplate } from '../recipes/validation/fields.ts'
import { reachesOut } from '../tools/registry.ts'
import type { Candidate } from './assign-agents.ts'

/** Where a plan may reach without asking. */
export interface Named {
  hosts: ReadonlySet<string>
  addresses: ReadonlySet<string>
}

/**
 * What somebody should look at before a step happens: hosts and people that the goal does not name, agents that choose addresses
 * themselves, and stored credentials. The context names nothing: it may be written by strangers.
 */
export function attentionTo(step: Record<string, unknown>, named: Named, candidates: readonly Candidate[]): string[] {
  const id = String(step['id'])
  const { kind, request, webhook, email, tool, arguments: given } = step
  if (kind === 'agent') return attentionToAgent(id, step['agent'], candidates)
  if (kind === 'http' && isObject(request))
    return attentionToRequest(id, request['url'], named, step['auth'] !== undefined, request)
  if (kind === 'tool' && reachesOut(String(tool)))
    return attentionToRequest(id, isObject(given) ? given['url'] : null, named, false, {})
  if (kind !== 'notify') return []
  if (isObject(webhook)) return attentionToRequest(id, webhook['url'], named, webhook['auth'] !== undefined, webhook)
  const to = isObject(email) && Array.isArray(email['to']) ? email['to'].map(String) : []
  return to
    .filter((each) => !named.addresses.has(each.trim().toLowerCase()))
    .map((each) => `Step ${id} sends an e-mail to ${each.slice(0, 100)}, whom the goal does not name.`)
}

function attentionToRequest(id: string, url: unknown, named: Named, hasAuth: boolean, whole: object): string[] {
  const notes: string[] = []
  const host = hostOf(typeof url === 'string' ? url : '')
  if (host === null || !named.hosts.has(host))
    notes.push(`Step ${id} reaches ${host ?? 'an address that is made up as it runs'}, which the goal does not name.`)
  if (hasAuth || checkTree(whole as Json, '').secrets.length > 0) notes.push(`Step ${id} sends a stored credential.`)
  return notes
}

function attentionToAgent(id: string, agent: unknown, candidates: readonly Candidate[]): string[] {
  const chosen = candidates.find((each) => each.id === agent || each.slug === agent)
  const outward = chosen?.tools.filter(reachesOut) ?? []
  if (!chosen || outward.length === 0) return []
  return [`Step ${id} is for the agent ${chosen.slug}, which may reach any address with ${outward.join(', ')}.`]
}

/** The host that a request goes to, whatever its templates give; null where that is not sure. */
function hostOf(url: string): string | null {
  const literal = hasTemplate(url) ? url.slice(0, url.search(/\{\{|\{%/)) : url
  // URLs lose white space and control characters wherever they stand: what is read here would not be where it goes.
  if (/[\s\p{Cc}\\]/u.test(literal)) return null
  if (hasTemplate(url) && !/^https?:\/\/[^/?#]+[/?#]/i.test(literal)) return null
  return URL.canParse(literal) ? new URL(literal).host : null
}

const hostName = /^(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?\.)+\p{L}[\p{L}\p{N}-]+(?::\d{1,5})?$/u
const address = /https?:\/\/[^\s<>"'`]+/gi

const betweenMailboxes = /[\s<>()[\]"',;:]+/

/** Without the marks that a sentence puts behind a word; a pattern would try each of a long row of them anew. */
function withoutEnd(text: string, marks: string): string {
  let end = text.length
  while (end > 0 && marks.includes(text[end - 1]!)) end -= 1
  return text.slice(0, end)
}

/** Words with an @ between two characters. */
const mailboxesIn = (text: string): string[] =>
  text.split(betweenMailboxes).filter((word) => word.slice(1, -1).includes('@'))

/** No name of a host is longer, with its port. */
const longestHost = 260

/** The hosts and the e-mail addresses that a goal names. */
export const namedBy = (goal: string): Named => ({
  hosts: hostsNamed(goal),
  addresses: new Set(mailboxesIn(goal).map((each) => withoutEnd(each, '.!?').toLowerCase())),
})

/** The hosts of a text's addresses, and those that it writes without one: `news.example`, `news.example:8443/feed`. */
export function hostsNamed(text: string): Set<string> {
  const addresses = (text.match(address) ?? []).map((each) => withoutEnd(each, '.,;:!?)]}'))
  const names = text
    .replace(address, ' ')
    .split(/[\s<>"'`()[\]{},;!?]+/)
    .map((word) => withoutEnd(word.split('/', 1)[0]!, '.:'))
    .filter((word) => word.length <= longestHost && hostName.test(word))
  const written = [...addresses, ...names.flatMap((name) => [`https://${name}`, `http://${name}`])]
  return new Set(written.filter((each) => URL.canParse(each)).map((each) => new URL(each).host))
}
