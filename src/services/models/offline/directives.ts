import type { Json } from '../../../lib/json.ts'

/** `call <tool> {json}`, in the order of the prompt. `input` is the text between the braces, JSON or not. */
export function toolDirectives(prompt: string): { name: string; input: string }[] {
  const found: { name: string; input: string }[] = []
  const pattern = /\bcall\s+([A-Za-z][\w-]*)\s*(?=\{)/gi
  for (let match = pattern.exec(prompt); match; match = pattern.exec(prompt)) {
    const input = balanced(prompt, pattern.lastIndex)
    if (input === null) continue
    found.push({ name: match[1]!, input })
    pattern.lastIndex += input.length
  }
  return found
}

/** From an opening brace to the one that closes it; braces within JSON texts do not count. */
function balanced(text: string, start: number): string | null {
  let depth = 0
  let quoted = false
  for (let i = start; i < text.length; i++) {
    const char = text[i]
    if (quoted) {
      if (char === '\\') i++
      else if (char === '"') quoted = false
    } else if (char === '"') quoted = true
    else if (char === '{') depth++
    else if (char === '}' && --depth === 0) return text.slice(start, i + 1)
  }
  return null
}

const contextBlock = /<context>\n([\s\S]*?)\n<\/context>/g

/** What a prompt is about, without its instruction: the context blocks, else what follows the first colon or line. */
export function contentOf(prompt: string): string {
  const blocks = Array.from(prompt.matchAll(contextBlock), ([, block = '']) => textsOf(block))
  if (blocks.some((block) => block !== '')) return blocks.filter(Boolean).join('\n')
  const text = prompt.trim()
  const instruction = /^[^\n:]{1,120}:\s+/.exec(text) ?? /^[^\n]{1,200}\n\s*\n/.exec(text)
  const rest = instruction ? text.slice(instruction[0].length).trim() : ''
  return rest === '' ? text : rest
}

/** The texts in a JSON value, one a line; other text as it is. */
function textsOf(block: string): string {
  try {
    return leaves(JSON.parse(block) as Json).join('\n')
  } catch {
    return block.trim()
  }
}

function leaves(value: Json): string[] {
  if (typeof value === 'string') return value.trim() === '' ? [] : [value.trim()]
  if (Array.isArray(value)) return value.flatMap(leaves)
  if (typeof value === 'object' && value !== null) return Object.values(value).flatMap(leaves)
  return []
}
