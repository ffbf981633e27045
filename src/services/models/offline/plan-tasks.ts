const verbs =
  'fetch|get|read|download|load|open|visit|retrieve|check|find|search|collect|gather|list|extract|summari[sz]e|translate|write|draft|' +
  'compare|review|classify|categori[sz]e|sort|rank|count|compute|calculate|analy[sz]e|explain|answer|rewrite|shorten|format|convert|' +
  'combine|merge|turn|make|create|produce|prepare|suggest|recommend|propose|pick|choose|select|filter|send|post|publish|push|notify|' +
  'deliver|submit|report|save|store|wait|plan|research|investigate|describe|identify|tell|log|ask'

const separators = new RegExp(
  [
    String.raw`\n+`,
    String.raw`(?<=[.!?])\s+(?=\S)`,
    String.raw`;\s+`,
    String.raw`,?\s+(?:and\s+)?then\s+`,
    String.raw`,?\s+and\s+(?:finally\s+)?(?=(?:${verbs})\b)`,
    String.raw`,\s+(?=(?:${verbs})\b)`,
  ].join('|'),
  'i',
)
const lead = /^(?:[-*•]\s+|\d+[.)]\s+|(?:please|first|next|then|finally|afterwards|after that|now)[,:]?\s+)+/i

/** The parts of a goal that are work of their own, in its order: sentences, list items, and what "then" and "and" join. */
export function splitTasks(goal: string): string[] {
  return goal
    .split(separators)
    .map((part) =>
      part
        .trim()
        .replace(lead, '')
        .replace(/[.;,\s]+$/, '')
        .trim(),
    )
    .filter((part) => /\p{L}/u.test(part))
}

/** Addresses in a text, each once. */
export function urlsIn(text: string): string[] {
  const found = text.match(/https?:\/\/[^\s"'<>{}|\\^`]+/gi) ?? []
  return [...new Set(found.map((url) => url.replace(/[.,;:!?)\]]+$/, '')))]
}

export type Work =
  | { kind: 'approve' }
  | { kind: 'log' }
  | { kind: 'calculate'; expression: string }
  | { kind: 'wait'; duration: string }
  | { kind: 'send'; url: string }
  | { kind: 'read'; urls: string[]; only: boolean }
  | { kind: 'each'; count: number }
  | { kind: 'think' }

const approval =
  /^(?:(?:ask|wait)(?:\s+(?:me|us|somebody))?\s+for|get|request)\s+(?:an?\s+|my\s+|our\s+|the\s+)?approval\b/i

/** What kind of work a task is, by its words. */
export function workOf(task: string): Work {
  const pause = /^wait\s+(?:for\s+)?(\d+)\s*(s|m|h|d)[a-z]*\b/i.exec(task)
  if (pause) return { kind: 'wait', duration: `${pause[1]}${pause[2]!.toLowerCase()}` }
  if (approval.test(task)) return { kind: 'approve' }
  const expression = /^(?:calculate|compute)\s+([\d\s.+*/()-]*\d[\d\s.+*/()-]*)$/i.exec(task)?.[1]
  if (expression !== undefined) return { kind: 'calculate', expression: expression.trim() }
  const urls = urlsIn(task)
  const [url] = urls
  if (url === undefined && /^(?:log|note down)\b/i.test(task)) return { kind: 'log' }
  if (url !== undefined) {
    const before = task.slice(0, task.indexOf(url))
    if (/\b(?:send|post|publish|push|notify|deliver|submit|report|save|store)\b/i.test(before))
      return { kind: 'send', url }
    const only = /^(?:fetch|get|read|download|load|open|visit|retrieve|collect|gather)\b/i.test(task)
    return { kind: 'read', urls: urls.slice(0, 5), only }
  }
  const each = /\b(?:each|every)\b(?!\s+(?:day|hour|week|month|morning|evening|minute))/i.test(task)
  return each ? { kind: 'each', count: countIn(task) ?? 10 } : { kind: 'think' }
}

/** How many of a list the task speaks of; null where it does not say. */
export function countIn(task: string): number | null {
  const count = /\b(?:first|top|latest|newest|last)\s+(\d{1,3})\b/i.exec(task)?.[1]
  return count === undefined ? null : Math.min(50, Math.max(1, Number(count)))
}

export type Reading = 'feed' | 'csv' | 'json' | 'text' | 'html_text'

/** How the answer of an address is to be read, by the address and the words around it. */
export function readingOf(url: string, task: string): Reading {
  const { pathname, host } = URL.canParse(url) ? new URL(url) : { pathname: url, host: '' }
  if (/\.(?:rss|atom)$|\/(?:feed|rss|atom)(?:\.xml)?\/?$|feed\.(?:xml|json)$/i.test(pathname)) return 'feed'
  if (/\.csv$/i.test(pathname)) return 'csv'
  if (/\.json$|^\/(?:api|v\d+)\//i.test(pathname) || /^api\./i.test(host)) return 'json'
  if (/\.(?:txt|md)$/i.test(pathname)) return 'text'
  if (/\b(?:rss|atom|feed)\b/i.test(task)) return 'feed'
  if (/\bcsv\b/i.test(task)) return 'csv'
  if (/\b(?:json|api)\b/i.test(task)) return 'json'
  return 'html_text'
}
