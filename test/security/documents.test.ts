import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const page = readFileSync(join(root, 'SECURITY.md'), 'utf8')

/** Files that a page names, in code or as a link. */
const named = [
  ...[...page.matchAll(/`((?:test|bench|docs|src|\.ci)\/[^`\s]+)`/g)].map(([, path]) => path!),
  ...[...page.matchAll(/\]\(([^):]+)\)/g)].map(([, path]) => path!),
]

test('every file that SECURITY.md names is there', () => {
  expect(named.length).toBeGreaterThan(40)
  expect([...new Set(named)].filter((path) => !existsSync(join(root, path)))).toEqual([])
})

test('each threat and each of the ten risks names what shows its defence', () => {
  const lines = page.split('\n').filter((line) => /^\| (?:[STRIDE](?:, [STRIDE])*:|API\d+ )/.test(line))
  expect(lines.filter((line) => line.startsWith('| API'))).toHaveLength(10)
  expect(lines.length).toBeGreaterThan(30)
  for (const line of lines) expect(line.split('|').at(-2), line).toMatch(/`(?:test|bench|docs|\.ci)\//)
})
