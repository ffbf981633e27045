import type { Result } from 'hono/router'
import { TrieRouter } from 'hono/router/trie-router'
import { expect, test } from 'vitest'
import { routeGroups } from '../../src/routes/index.ts'
import { TemplateRouter } from '../../src/middleware/template-router.ts'
import { ApiMetrics } from '../../src/services/metrics/api-metrics.ts'
import { createLimiterState } from '../../src/services/metrics/limiter-state.ts'
import { testConfig } from '../support/app.ts'

function routerOf(...routes: [method: string, path: string][]) {
  const router = new TemplateRouter<string>()
  for (const [method, path] of routes) router.add(method, path, `${method} ${path}`)
  return (method: string, path: string) => found(router.match(method, path))
}

/** The handler with its parameters by name, whichever way a router tells them. */
function found<T>([handlers, values]: Result<T>): [T, Record<string, string>] | undefined {
  const first = handlers[0]
  if (!first) return undefined
  const params = Object.entries(first[1]).map(([name, value]) => [name, values?.[value as number] ?? String(value)])
  return [first[0], Object.fromEntries(params)]
}

test('a fixed segment goes before a parameter, whichever was added first', () => {
  const match = routerOf(['GET', '/a/:id'], ['GET', '/a/current'])
  expect(match('GET', '/a/current')).toEqual(['GET /a/current', {}])
  expect(match('GET', '/a/7')).toEqual(['GET /a/:id', { id: '7' }])
})

test('where the fixed way ends nowhere the parameter takes its place', () => {
  const match = routerOf(['GET', '/a/current/x'], ['GET', '/a/:id/y'], ['GET', '/:kind/current/z'])
  expect(match('GET', '/a/current/y')).toEqual(['GET /a/:id/y', { id: 'current' }])
  expect(match('GET', '/a/current/z')).toEqual(['GET /:kind/current/z', { kind: 'a' }])
})

test('templates may name the parameter of one place differently', () => {
  const match = routerOf(['GET', '/a/:id'], ['GET', '/a/:agent/stats'], ['POST', '/a/:other'])
  expect(match('GET', '/a/1/stats')).toEqual(['GET /a/:agent/stats', { agent: '1' }])
  expect(match('GET', '/a/1')).toEqual(['GET /a/:id', { id: '1' }])
  expect(match('POST', '/a/1')).toEqual(['POST /a/:other', { other: '1' }])
})

test('nothing matches an empty parameter, another method, a longer or a shorter path', () => {
  const match = routerOf(['GET', '/a/:id/b'], ['GET', '/'])
  for (const path of ['/a//b', '/a/1', '/a/1/b/c', '/a', '//', '/a/1/b/']) expect(match('GET', path)).toBeUndefined()
  expect(match('POST', '/a/1/b')).toBeUndefined()
  expect(match('GET', '/')).toEqual(['GET /', {}])
})

test('what a template cannot say is refused', () => {
  const router = new TemplateRouter<string>()
  for (const path of ['/a/*', '/a/:id{[0-9]+}', '/a/:id?']) expect(() => router.add('GET', path, '')).toThrow(path)
})

test('every route of the product is found as Hono’s general router finds it', () => {
  const sources = { metrics: new ApiMetrics(), limiterState: createLimiterState() }
  const routes = routeGroups(testConfig(), sources).flatMap(({ prefix, operations }) =>
    operations.map(({ method, path }) => {
      const joined = (prefix.replace(/\/$/, '') + path).replace(/(.)\/$/, '$1')
      return [method.toUpperCase(), joined.replace(/\{([^}]+)\}/g, ':$1')] as const
    }),
  )
  const ours = new TemplateRouter<string>()
  const honos = new TrieRouter<string>()
  for (const [method, path] of routes) {
    ours.add(method, path, path)
    honos.add(method, path, path)
  }
  for (const [, path] of routes) {
    for (const filled of [path, path.replaceAll(/:\w+/g, 'some-thing'), `${path}/more`]) {
      for (const method of ['GET', 'POST', 'PATCH', 'PUT', 'DELETE']) {
        expect(found(ours.match(method, filled))).toEqual(found(honos.match(method, filled)))
      }
    }
  }
})
