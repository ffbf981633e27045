import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createApiDocument } from '../../src/app.ts'
import { problemTypes } from '../../src/lib/errors.ts'
import { testConfig } from '../support/app.ts'

interface Described {
  operationId: string
  parameters?: { name: string; in: string }[]
  security?: Record<string, unknown>[]
  responses: Record<string, { headers?: Record<string, unknown> }>
}
const page = readFileSync(new URL('../../docs/http.md', import.meta.url), 'utf8')
const paths = createApiDocument(testConfig()).paths as unknown as Record<string, Record<string, Described>>
const operations = Object.entries(paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ method, path, ...operation })),
)
const headersOf = ({ parameters = [] }: Described) => parameters.flatMap((p) => (p.in === 'header' ? [p.name] : []))

test('what can be changed can be changed in the state that was seen, and says which that is', () => {
  const changes = operations.filter(({ method }) => ['patch', 'put', 'delete'].includes(method))
  expect(changes.length).toBeGreaterThan(10)
  for (const change of changes) {
    expect(headersOf(change), change.operationId).toContain('if-match')
    expect(change.responses, change.operationId).toHaveProperty('412')
    const read = paths[change.path]!['get']!
    expect(headersOf(read), read.operationId).toContain('if-none-match')
    expect(read.responses, read.operationId).toHaveProperty('304')
    expect(read.responses['200']!.headers, read.operationId).toHaveProperty('ETag')
  }
})

test('every address that a ticket opens has a POST beside it that gives one, and no other operation takes one', () => {
  const opened = operations.filter(({ security }) => security?.some((scheme) => 'ticket' in scheme))
  const given = operations.filter(({ path }) => /\/(ticket|link)$/.test(path))
  expect(opened.map(({ method, path }) => `${method} ${path}`).toSorted()).toEqual(
    given.map(({ path }) => `get ${path.replace(/\/(ticket|link)$/, '')}`).toSorted(),
  )
  expect(given.map(({ method }) => method)).toEqual(given.map(() => 'post'))
})

test('the page about HTTP names every kind of problem with its status, and every signed address', () => {
  for (const [kind, { status }] of Object.entries(problemTypes)) {
    expect(page, kind).toMatch(new RegExp(`^\\| [^|]*\\b${status}\\b[^|]*\\|[^|]*\`${kind}\``, 'm'))
  }
  for (const { path } of operations.filter((operation) => /\/(ticket|link)$/.test(operation.path))) {
    expect(page).toContain(`| \`${path}\` |`)
  }
})
