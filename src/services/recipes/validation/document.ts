import type { Fault } from '../../../lib/errors.ts'
import { partsOf } from '../../../lib/language/template.ts'
import { pointerTo } from '../../../lib/pointer.ts'
import { definitionLimits } from '../definition.ts'

/**
 * The plain JSON of a value, or why it cannot be examined: too deep or too large for the recursive checks that follow, or
 * with member names that change what an object is.
 */
export function toPlainJson(value: unknown): { json: unknown; faults: Fault[] } {
  const faults: Fault[] = []
  const pending: { value: unknown; pointer: string; depth: number }[] = [{ value, pointer: '', depth: 0 }]
  let nodes = 0
  let parts = 0
  for (let next = pending.pop(); next; next = pending.pop()) {
    // Each value takes a byte at least.
    if (++nodes > definitionLimits.bytes) return { json: undefined, faults: [tooLarge] }
    if (typeof next.value === 'string') parts += partsOf(next.value)
    if (parts > definitionLimits.parts) return { json: undefined, faults: [tooManyParts] }
    if (typeof next.value !== 'object' || next.value === null) continue
    if (next.depth >= definitionLimits.depth) {
      return {
        json: undefined,
        faults: [{ pointer: next.pointer, detail: `is nested deeper than ${definitionLimits.depth} levels` }],
      }
    }
    for (const [key, item] of Object.entries(next.value)) {
      const pointer = pointerTo(next.pointer, key)
      if (key === '__proto__') faults.push({ pointer, detail: 'is not an allowed name' })
      else if ((key === '$expr' || key === 'when') && typeof item === 'string') parts += 1 + item.length / 10
      else if ((typeof item === 'object' && item !== null) || typeof item === 'string')
        pending.push({ value: item, pointer, depth: next.depth + 1 })
    }
  }
  if (faults.length > 0) return { json: undefined, faults }
  const text = JSON.stringify(value)
  if (text === undefined) return { json: undefined, faults: [{ pointer: '', detail: 'must be an object' }] }
  if (new TextEncoder().encode(text).length > definitionLimits.bytes) return { json: undefined, faults: [tooLarge] }
  return { json: JSON.parse(text), faults }
}

const tooManyParts: Fault = {
  pointer: '',
  detail: `must have at most ${definitionLimits.parts} expressions, outputs and tags in all; long expressions count as several`,
}
const tooLarge: Fault = { pointer: '', detail: `must be at most ${definitionLimits.bytes / 1024} KB of JSON` }
