import { expect, test } from 'vitest'
import { Secret } from '../../src/lib/secret.ts'
import { createLog, type LogOptions } from '../../src/runtime/log.ts'

function logTo(options: Partial<LogOptions> = {}) {
  const lines: string[] = []
  const log = createLog({
    level: 'debug',
    format: 'json',
    write: (line) => void lines.push(line),
    now: () => new Date('2026-01-02T03:04:05.678Z'),
    ...options,
  })
  return { log, lines, parsed: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) }
}

test('writes one JSON object a line, with time, level, message and the fields', () => {
  const { log, lines, parsed } = logTo()
  log.info('Run\nfinished', { run_id: 'r1', done: 3, missing: undefined })
  expect(lines[0]).not.toContain('\n')
  expect(parsed()).toEqual([
    { time: '2026-01-02T03:04:05.678Z', level: 'info', message: 'Run\nfinished', run_id: 'r1', done: 3 },
  ])
})

test('bound fields are on every line, and no field takes the place of time, level or message', () => {
  const { log, parsed } = logTo()
  log.with({ request_id: 'q1' }).with({ run_id: 'r1' }).warn('hello', { level: 'fake', time: 'fake', message: 'fake' })
  expect(parsed()).toEqual([
    { time: '2026-01-02T03:04:05.678Z', level: 'warn', message: 'hello', request_id: 'q1', run_id: 'r1' },
  ])
})

test('is silent below its level', () => {
  const { log, parsed } = logTo({ level: 'warn' })
  log.debug('a')
  log.info('b')
  log.warn('c')
  log.error('d')
  expect(parsed().map(({ message }) => message)).toEqual(['c', 'd'])
})

test('hides secrets by type and by name, at any depth, and keeps what only sounds alike', () => {
  const { log, lines, parsed } = logTo()
  log.info('x', {
    key: new Secret('s3cret-by-type'),
    headers: new Headers({ Authorization: 'Bearer s3cret-a', 'X-Api-Key': 's3cret-b', Accept: 'text/plain' }),
    deep: [
      { apiKey: 's3cret-c', webhook_secret: 's3cret-d', password: null, map: new Map([['Set-Cookie', 's3cret-e']]) },
    ],
    input_tokens: 12,
    secretary: 'Ann',
  })
  expect(lines[0]).not.toContain('s3cret')
  expect(parsed()[0]).toMatchObject({
    key: '***',
    headers: { authorization: '***', 'x-api-key': '***', accept: 'text/plain' },
    deep: [{ apiKey: '***', webhook_secret: '***', password: null, map: { 'Set-Cookie': '***' } }],
    input_tokens: 12,
    secretary: 'Ann',
  })
})

test('hides credentials inside messages and errors', () => {
  const { log, lines } = logTo()
  const key = `ak_srv_${'0123456789abcdef'.repeat(4)}`
  log.error(`bad key ${key}`, {
    error: new Error('connect postgres://app:hunter2@db.example/x failed'),
    curl: 'curl -H "Authorization: Bearer abcdefgh12345678"',
    url: 'https://example.com/events?ticket=t0psecret&run=1',
  })
  for (const secret of [key, 'hunter2', 'abcdefgh12345678', 't0psecret']) expect(lines[0]).not.toContain(secret)
  expect(lines[0]).toContain('postgres://app:***@db.example/x')
  expect(lines[0]).toContain('run=1')
})

test('spells errors out with stack, code and causes, without the query that a driver hangs on them', () => {
  const { log, parsed } = logTo()
  const cause = Object.assign(new Error('inner'), { code: 'ECONNRESET', query: 'select secret', parameters: ['p'] })
  log.error('failed', { error: new TypeError('outer', { cause }) })
  expect(parsed()[0]).toMatchObject({
    error: {
      name: 'TypeError',
      message: 'outer',
      stack: expect.stringContaining('log.test.ts') as string,
      cause: { message: 'inner', code: 'ECONNRESET' },
    },
  })
  expect(JSON.stringify(parsed())).not.toContain('select secret')
})

test('any value can be logged: circular, deep, long, binary, BigInt, throwing getters', () => {
  const { log, parsed } = logTo()
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  let deep: unknown = 'end'
  for (let i = 0; i < 100; i++) deep = { deep }
  const hostile = {
    get trap(): never {
      throw new Error('no')
    },
  }
  log.info('x', {
    circular,
    deep,
    hostile,
    big: 10n,
    nan: NaN,
    bytes: new Uint8Array(5),
    date: new Date(NaN),
    list: Array.from({ length: 1000 }, (_, i) => i),
    text: 'x'.repeat(100_000),
    nothing: Object.create(null) as object,
  })
  expect(parsed()[0]).toMatchObject({
    circular: { self: '[circular]' },
    big: '10',
    nan: 'NaN',
    bytes: '[5 bytes]',
    date: 'Invalid Date',
  })
  expect(JSON.stringify(parsed()).length).toBeLessThan(20_000)
})

test('a line that cannot be written stops nobody', () => {
  const { log } = logTo({
    write: () => {
      throw new Error('disk full')
    },
  })
  expect(() => log.info('x')).not.toThrow()
})

test('for a terminal: readable, with stack and cause, and foreign text cannot drive the terminal or forge a line', () => {
  const { log, lines } = logTo({ format: 'pretty' })
  log.warn('evil\u001b[2J\nINFO forged', {
    run_id: 'r1',
    n: 2,
    error: new Error('outer', { cause: new Error('inner') }),
  })
  const text = lines[0]!
  expect(text).toContain('03:04:05.678')
  expect(text).toContain('WARN')
  expect(text).toContain('run_id=')
  expect(text).toContain('evil\\x1b[2J\\x0aINFO forged')
  expect(text).toContain('caused by:')
  expect(text).toContain('Error: inner')
})
