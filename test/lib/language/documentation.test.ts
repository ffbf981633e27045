import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { functions } from '../../../src/lib/language/functions/index.ts'
import { macroNames } from '../../../src/lib/language/macros.ts'

const page = await readFile(new URL('../../../docs/expressions.md', import.meta.url), 'utf8')
const rows = page.split('\n').filter((line) => line.startsWith('| `'))

test.each(Object.keys(functions))('docs/expressions.md has a line for %s()', (name) => {
  expect(rows.some((row) => row.includes(`\`${name}(`))).toBe(true)
})

test.each(macroNames)('docs/expressions.md has a line for the macro %s', (name) => {
  expect(rows.some((row) => row.includes(`${name}(`))).toBe(true)
})

test('docs/expressions.md promises no function that does not exist', () => {
  const named = rows.flatMap((row) => [...row.matchAll(/^\| `(\w+)\(/g)].map(([, name = '']) => name))
  const known = new Set<string>([...Object.keys(functions), ...macroNames])
  expect(named.filter((name) => !known.has(name))).toEqual([])
})
