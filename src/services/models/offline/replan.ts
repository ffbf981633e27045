import { isObject, type Json, type JsonObject } from '../../../lib/json.ts'

/**
 * What is left of a plan that failed, by another way: a source that cannot be read is done without if there are others, an
 * agent that failed gives way to the model alone, items that fail are passed over. What is to be delivered is tried again,
 * never left out.
 */
export function planRest(failed: JsonObject, goal: string): JsonObject {
  const steps = Array.isArray(failed['steps']) ? failed['steps'].filter(isStep) : []
  const at = Math.max(
    0,
    steps.findIndex(({ id }) => id === failed['step']),
  )
  const [broken, ...after] = steps.slice(at)
  if (!broken)
    return {
      steps: [
        { id: 'answer', kind: 'llm', prompt: 'Reach the goal as far as it goes with what there is.', context: known },
      ],
    }
  const done = new Set(steps.slice(0, at).map(({ id }) => String(id)))
  const hasOtherSource = steps.some((step) => step !== broken && isRead(step))
  const another = byAnotherWay(broken, hasOtherSource)
  const dropped = another === null ? String(broken['id']) : null
  const gone = new Set([...done, ...(dropped === null ? [] : [dropped])])
  const rest = after
    // A list that nobody could read has no items to work on.
    .filter((step) => dropped === null || !(step['kind'] === 'foreach' && speaksOf(step['items'] ?? null, dropped)))
    .map((step) => (dropped !== null && speaksOf(step['context'] ?? null, dropped) ? withNotice(step, broken) : step))
  const left = [...(another ? [another] : []), ...rest].map((step) => carriedOver(step, gone) as JsonObject)
  if (left.length === 0)
    return {
      steps: [{ id: 'answer', kind: 'llm', prompt: `${safe(goal)}\n\nSay what could not be read.`, context: known }],
    }
  const last = left.findLast(({ kind }) => kind === 'agent' || kind === 'llm')
  return { steps: left, ...(last && { output: { $expr: `steps.${String(last['id'])}.output.text` } }) }
}

const isStep = (value: Json): value is JsonObject => isObject(value)

const known: JsonObject = { results: { $expr: 'get(input, "results")' } }

const isRead = (step: Record<string, unknown>): boolean =>
  step['kind'] === 'http' && isObject(step['request']) && step['request']['method'] === 'GET'

/** Null: it is done without. */
function byAnotherWay(step: JsonObject, hasOtherSource: boolean): JsonObject | null {
  switch (step['kind']) {
    case 'agent': {
      const { agent: _agent, ...rest } = step
      return { ...rest, kind: 'llm' }
    }
    case 'llm': {
      const { output_schema: _schema, ...rest } = step
      return { ...rest, retry: { max_attempts: 5, backoff: '5s' } }
    }
    case 'http':
      if (isRead(step) && hasOtherSource) return null
      return { ...step, retry: { max_attempts: 5, backoff: '5s' } }
    case 'foreach':
      return { ...step, on_item_error: 'collect' }
    default:
      return step
  }
}

const speaksOf = (value: Json, id: string): boolean => new RegExp(`\\bsteps\\.${id}\\b`).test(JSON.stringify(value))

function withNotice(step: JsonObject, broken: JsonObject): JsonObject {
  const url = isObject(broken['request']) ? String(broken['request']['url']) : String(broken['id'])
  return typeof step['prompt'] === 'string'
    ? { ...step, prompt: `${step['prompt']} (${url} could not be read.)` }
    : step
}

/** What referred to a step of the earlier plan reads its result from the input of this one; null where there is none. */
function carriedOver(value: Json, ids: ReadonlySet<string>, isExpression = false): Json {
  if (typeof value === 'string') return rewritten(value, isExpression, ids)
  if (Array.isArray(value)) return value.map((item) => carriedOver(item, ids))
  if (!isObject(value)) return value
  const entries = Object.entries(value as JsonObject)
  return Object.fromEntries(
    entries.map(([key, item]): [string, Json] => [key, carriedOver(item, ids, key === '$expr' || key === 'when')]),
  )
}

function rewritten(text: string, isExpression: boolean, ids: ReadonlySet<string>): string {
  // The path as far as it goes: a name with a bracket behind it is a function, not a member.
  return text.replace(
    /\bsteps\.([a-z][a-z0-9_]*)\.output((?:\.[A-Za-z_]\w*(?![\w(]))*)/g,
    (whole, id: string, path: string) => {
      if (!ids.has(id)) return whole
      return isExpression ? `get(input, "results.${id}${path}")` : `input.results.${id}${path}`
    },
  )
}

const safe = (text: string): string => text.replaceAll('{{', '{ {').replaceAll('{%', '{ %')
