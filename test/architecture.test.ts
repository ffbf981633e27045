import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, relative } from 'node:path'
import { expect, test } from 'vitest'
import { routeGroups } from '../src/routes/index.ts'
import { ApiMetrics } from '../src/services/metrics/api-metrics.ts'
import { createLimiterState } from '../src/services/metrics/limiter-state.ts'
import { testConfig } from './support/app.ts'

const root = join(import.meta.dirname, '..')
const source = join(root, 'src')

interface Import {
  /** `src/routes/agents.routes.ts` or a package. */
  target: string
  typeOnly: boolean
}
interface Source {
  path: string
  text: string
  imports: Import[]
}

const files: Source[] = readdirSync(source, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
  .map((entry) => {
    const path = relative(root, join(entry.parentPath, entry.name))
    const text = readFileSync(join(root, path), 'utf8')
    return { path, text, imports: importsOf(path, text) }
  })

function importsOf(path: string, text: string): Import[] {
  const statements = text.matchAll(/^(?:import|export)\s+(type\s)?(?:[^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]/gm)
  const dynamic = text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)
  return [
    ...[...statements].map(([, type, target]) => ({ target: absolute(path, target!), typeOnly: type !== undefined })),
    ...[...dynamic].map(([, target]) => ({ target: absolute(path, target!), typeOnly: false })),
  ]
}

function absolute(from: string, target: string): string {
  return target.startsWith('.') ? posix.normalize(posix.join(posix.dirname(from), target)) : target
}

const under =
  (...folders: string[]) =>
  (path: string) =>
    folders.some((folder) => path.startsWith(`src/${folder}`))
const isPackage =
  (...names: string[]) =>
  (target: string) =>
    names.some((name) => target === name || target.startsWith(`${name}/`))

/** Who may never import what; types are free where `typesToo` is not set. */
const rules: {
  rule: string
  from: (path: string) => boolean
  never: (target: string) => boolean
  typesToo?: boolean
}[] = [
  {
    rule: 'routes reach rows and platforms through services only',
    from: under('routes/'),
    never: (target) => isPackage('kysely')(target) || under('db/', 'runtime/')(target),
    typesToo: true,
  },
  {
    rule: 'services know no HTTP framework, no routes, no platform',
    from: under('services/'),
    never: (target) =>
      isPackage('hono', '@hono/node-server')(target) || under('routes/', 'middleware/', 'runtime/', 'app.ts')(target),
    typesToo: true,
  },
  {
    rule: 'the runtime serves services and knows none',
    from: under('runtime/'),
    never: under('routes/', 'middleware/', 'app.ts'),
    typesToo: true,
  },
  {
    rule: 'seeds are written through services',
    from: under('seeds/'),
    never: (target) => isPackage('hono')(target) || under('routes/', 'middleware/', 'runtime/')(target),
    typesToo: true,
  },
  {
    rule: 'lib imports lib',
    from: under('lib/'),
    never: under('routes/', 'services/', 'middleware/', 'runtime/', 'db/', 'seeds/', 'app.ts', 'config.ts'),
  },
  {
    rule: 'db imports lib and db',
    from: under('db/'),
    never: under('routes/', 'services/', 'middleware/', 'runtime/', 'seeds/', 'app.ts'),
  },
  {
    rule: 'middleware reaches no rows and no platform',
    from: under('middleware/'),
    never: (target) => isPackage('kysely')(target) || under('db/', 'runtime/', 'routes/')(target),
    typesToo: true,
  },
  {
    rule: 'the command line knows the product through its API',
    from: under('cli/automatos'),
    never: (target) =>
      isPackage('zod', '@hono/zod-openapi', 'hono', 'kysely')(target) ||
      under(
        'routes/',
        'services/',
        'middleware/',
        'runtime/',
        'db/',
        'seeds/',
        'config',
        'app.ts',
        'context.ts',
      )(target),
    typesToo: true,
  },
  {
    rule: 'the app is assembled without a database or a platform',
    from: (path) => path === 'src/app.ts',
    never: (target) => isPackage('kysely')(target) || under('db/', 'runtime/')(target),
    typesToo: true,
  },
]

test.each(rules.map((rule) => [rule.rule, rule] as const))('%s', (_, { from, never, typesToo }) => {
  const offences = files
    .filter(({ path }) => from(path))
    .flatMap(({ path, imports }) =>
      imports
        .filter(({ target, typeOnly }) => never(target) && (typesToo || !typeOnly))
        .map(({ target }) => `${path} imports ${target}`),
    )
  expect(offences).toEqual([])
})

test('a group imports no other group', () => {
  const offences = files
    .filter(({ path }) => path.endsWith('.routes.ts'))
    .flatMap(({ path, imports }) =>
      imports.filter(({ target }) => target.endsWith('.routes.ts')).map(({ target }) => `${path} imports ${target}`),
    )
  expect(offences).toEqual([])
})

const mayUseNode = under('node-server.ts', 'node-process.ts', 'runtime/node/', 'cli/')
test('Node is used where Node is, and nowhere else', () => {
  const offences = files
    .filter(({ path }) => !mayUseNode(path))
    .filter(
      ({ text, imports }) =>
        imports.some(({ target }) => target.startsWith('node:') || isPackage('@hono/node-server')(target)) ||
        /(?<![.\w'"`])(process|Buffer)\.\w/.test(withoutComments(text)),
    )
    .map(({ path }) => path)
  expect(offences).toEqual([])
})

/** Those that may open connections by themselves; which files of theirs do, the linter knows. */
const mayFetch = under('runtime/', 'cli/', 'index.ts', 'node-server.ts')
test('whatever leaves for an address that a tenant chose leaves through the egress guard', () => {
  const offences = files
    .filter(({ path }) => !mayFetch(path))
    .filter(({ text }) =>
      /(?<![.\w])(?:globalThis\.)?fetch\(|new (?:WebSocket|EventSource|XMLHttpRequest)\(/.test(callsOnly(text)),
    )
    .map(({ path }) => path)
  expect(offences).toEqual([])
})

test('only config.ts reads the environment', () => {
  const offences = files
    .filter(({ path }) => !mayUseNode(path))
    .filter(({ text }) => /process\.env|Bun\.env|import\.meta\.env/.test(withoutComments(text)))
    .map(({ path }) => path)
  expect(offences).toEqual([])
})

test('every routes file is mounted', () => {
  const table = readFileSync(join(source, 'routes/index.ts'), 'utf8')
  const missing = files
    .filter(({ path }) => path.endsWith('.routes.ts'))
    .map(({ path }) => path.slice('src/routes/'.length))
    .filter((name) => !table.includes(`'./${name}'`))
  expect(missing).toEqual([])
})

test('operation ids are unique, each a verb and a noun', () => {
  const sources = { metrics: new ApiMetrics(), limiterState: createLimiterState() }
  const ids = routeGroups(testConfig(), sources).flatMap(({ operations }) => operations.map((o) => o.operationId))
  expect(new Set(ids).size).toBe(ids.length)
  for (const id of ids) expect(id).toMatch(/^[a-z]+[A-Z][A-Za-z]+$/)
})

test('no file is longer than 400 lines', () => {
  const long = files.filter(({ text }) => text.split('\n').length > 400).map(({ path }) => path)
  expect(long).toEqual([])
})

const withoutComments = (text: string) => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
/** Definitions and members named fetch are not calls of the global one. */
const callsOnly = (text: string) =>
  withoutComments(text)
    .replace(/(?:function|async)\s+fetch\(/g, '')
    .replace(/^\s*fetch\([^)]*\)[^;]*\{$/gm, '')
