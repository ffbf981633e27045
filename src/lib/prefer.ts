import { z } from '@hono/zod-openapi'

/** Nobody is kept waiting longer: proxies commonly cut what is silent for a minute. */
export const longestWaitS = 60

/** Spread into the header schema of an operation that may wait. */
export const preferHeader = {
  prefer: z
    .string()
    .optional()
    .openapi({
      description: `\`wait=30\`: answer 200 with the execution if it ends within so many seconds (at most ${longestWaitS}). RFC 7240; what cannot be read is ignored.`,
      example: 'wait=30',
    }),
}

/** Seconds that a Prefer header asks to be waited (RFC 7240), within the longest; null where it asks for no waiting. */
export function waitAskedFor(prefer: string | undefined): number | null {
  // Of a preference that is named twice the first counts, also where its value is none.
  for (const preference of split(prefer ?? '', ',')) {
    const [token = ''] = split(preference, ';')
    const [name = '', ...rest] = token.split('=')
    if (name.trim().toLowerCase() !== 'wait') continue
    const value = /^(?:"(\d{1,9})"|(\d{1,9}))$/.exec(rest.join('=').trim())
    const seconds = Number(value?.[1] ?? value?.[2] ?? 0)
    return seconds === 0 ? null : Math.min(seconds, longestWaitS)
  }
  return null
}

/** At the separators that stand in no quoted string. */
function split(text: string, separator: ',' | ';'): string[] {
  const parts: string[] = []
  let [part, quoted] = ['', false]
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!
    if (quoted && char === '\\') {
      part += char + (text[++i] ?? '')
      continue
    }
    if (char === '"') quoted = !quoted
    if (char === separator && !quoted) {
      parts.push(part)
      part = ''
    } else part += char
  }
  return [...parts, part]
}
