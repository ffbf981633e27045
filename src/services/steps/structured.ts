import { validateJson } from '../../lib/json-schema.ts'
import type { Json, JsonObject } from '../../lib/json.ts'

export type Structured = { data: Json; faults: null } | { data: null; faults: string }

/** The value in a model's text, checked against the schema. A code fence around it is taken off. */
export function parseStructured(text: string, schema: JsonObject): Structured {
  let data: Json
  try {
    data = JSON.parse(withoutFence(text)) as Json
  } catch {
    return { data: null, faults: 'The answer is not JSON.' }
  }
  const faults = validateJson(schema, data)
  if (faults.length === 0) return { data, faults: null }
  const listed = faults.slice(0, 20).map(({ pointer, detail }) => `${pointer || '/'}: ${detail}`)
  return { data: null, faults: listed.join('\n') }
}

/** JSON takes white space round it, so only the marks are looked for: what stands between them may be megabytes. */
function withoutFence(text: string): string {
  const whole = text.trim()
  const opening = /^```[a-z]*/i.exec(whole)?.[0]
  if (opening === undefined || !whole.endsWith('```') || whole.length < opening.length + 3) return text
  return whole.slice(opening.length, -3)
}

export const repairPrompt = (faults: string): string =>
  `Your answer does not have the required form:\n${faults}\nAnswer again with the corrected JSON value only.`
