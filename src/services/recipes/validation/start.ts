import { parseDuration } from '../../../lib/duration.ts'
import { isObject } from '../../../lib/json.ts'
import { FieldReader } from './fields.ts'

/** What no shape shows of when a recipe may start: durations, keys, and what does not go together. */
export function readStartSettings(settings: unknown): FieldReader {
  const reader = new FieldReader()
  if (!isObject(settings)) return reader
  const { concurrency, debounce, throttle } = settings
  const at = '/settings'
  const limits = Array.isArray(concurrency) ? concurrency : [concurrency]
  for (const [index, limit] of limits.entries())
    if (isObject(limit))
      readKey(reader, limit['key'], `${at}/concurrency${Array.isArray(concurrency) ? `/${index}` : ''}/key`)
  if (limits.length === 2 && limits.every(isObject) && 'key' in limits[0]! === 'key' in limits[1]!)
    reader.fault(`${at}/concurrency`, 'takes one limit with a key and one without')
  for (const [name, field] of Object.entries({ debounce, throttle })) {
    if (!isObject(field)) continue
    readKey(reader, field['key'], `${at}/${name}/key`)
    reader.duration(field['period'], `${at}/${name}/period`)
    reader.duration(field['max_wait'], `${at}/${name}/max_wait`)
  }
  if (isObject(debounce) && isObject(throttle)) reader.fault(`${at}/throttle`, 'cannot go with a debounce')
  const [period, maxWait] = isObject(debounce) ? [debounce['period'], debounce['max_wait']].map(inMs) : []
  if (period && maxWait && maxWait < period) reader.fault(`${at}/debounce/max_wait`, 'must not be shorter than period')
  return reader
}

const inMs = (text: unknown) => (typeof text === 'string' ? parseDuration(text) : null)

function readKey(reader: FieldReader, key: unknown, pointer: string): void {
  if (key === undefined) return
  if (typeof key !== 'string' && !(isObject(key) && '$expr' in key)) {
    reader.fault(pointer, 'must be a text, usually a template, or {"$expr": "…"}')
    return
  }
  const before = reader.references.length
  reader.tree(key, pointer)
  const foreign = reader.references.slice(before).find(({ root }) => root !== 'input' && root !== 'trigger')
  if (foreign) reader.fault(pointer, `may refer to input and trigger only, not to ${foreign.root}`)
}
