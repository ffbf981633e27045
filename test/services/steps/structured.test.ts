import { expect, test } from 'vitest'
import { parseStructured } from '../../../src/services/steps/structured.ts'

const schema = { type: 'object' }

test.each(['{"a":1}', '```json\n{"a":1}\n```', '  ```\n{"a":1}```\n\n', '```JSON {"a":1} ```'])(
  'the value of %j is what stands in the fence',
  (text) => {
    expect(parseStructured(text, schema)).toEqual({ data: { a: 1 }, faults: null })
  },
)

test.each(['```', '``````', `\`\`\`${'\n'.repeat(200_000)}x`, `\`\`\`\n${'``` '.repeat(200_000)}`])(
  'a fence round nothing, or that does not end, is no JSON: %.20j',
  (text) => {
    expect(parseStructured(text, schema)).toEqual({ data: null, faults: 'The answer is not JSON.' })
  },
)
