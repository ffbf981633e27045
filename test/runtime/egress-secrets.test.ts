import { describe, expect, test } from 'vitest'
import { secretPlaceholder } from '../../src/lib/language/secrets.ts'
import { createEgress, type EgressParts, type UsableCredential } from '../../src/runtime/egress.ts'
import { pinnedFetch } from '../../src/runtime/node/pinned-fetch.ts'
import { loopbackServer } from '../support/loopback-server.ts'

const workspaceId = 'w1'
const token = 'tok-5c1e7d'

/** Every `*.example` name leads to loopback, which the operator has opened. */
function guard(credentials: UsableCredential[], options: Partial<EgressParts> = {}) {
  const lines: unknown[] = []
  const write = (...line: unknown[]) => void lines.push(line)
  const log: EgressParts['log'] = { debug: write, info: write, warn: write, error: write, with: () => log }
  const egress = createEgress({
    config: { egressAllow: ['127.0.0.0/8'] },
    fetch: pinnedFetch,
    resolve: async () => ['127.0.0.1'],
    credentials: async (workspace, slug) =>
      (workspace === workspaceId && credentials.find((one) => one.slug === slug)) || null,
    log,
    ...options,
  })
  return { egress, lines }
}

const bearer = (hosts: string[]): UsableCredential => ({
  id: 'c1',
  slug: 'svc',
  kind: 'bearer',
  hosts,
  fields: { token },
})
const refusal = expect.objectContaining({ name: 'EgressError', kind: 'egress-refused' })
const withSvc = { workspaceId, credential: 'svc' }
const echo = () => loopbackServer((_, response) => response.end('ok'))

describe('auth: {credential}', () => {
  test.each<[UsableCredential, string, Record<string, string>]>([
    [bearer(['api.example']), '/p', { authorization: `Bearer ${token}` }],
    [
      { id: 'c1', slug: 'svc', kind: 'basic', hosts: ['*.example'], fields: { username: 'jörg', password: 'p:w' } },
      '/p',
      { authorization: `Basic ${Buffer.from('jörg:p:w').toString('base64')}` },
    ],
    [
      { id: 'c1', slug: 'svc', kind: 'header', hosts: ['api.example'], fields: { name: 'X-Token', value: token } },
      '/p',
      { 'x-token': token },
    ],
    [
      { id: 'c1', slug: 'svc', kind: 'query', hosts: ['api.example'], fields: { name: 'key', value: 'a&b=c' } },
      '/p?q=1&key=a%26b%3Dc',
      {},
    ],
  ])('$kind is injected', async (credential, url, headers) => {
    const { port, seen } = await echo()
    await guard([credential]).egress(
      new Request(`http://api.example:${port}${url.includes('?') ? '/p?q=1' : '/p'}`, {
        headers: { authorization: 'Bearer overridden' },
      }),
      withSvc,
    )
    expect(seen[0]!.url).toBe(url)
    expect(seen[0]!.headers).toMatchObject(headers)
  })

  test('is read while the rules of the workspace are', async () => {
    const { port, seen } = await echo()
    let isRead = () => {}
    const read = new Promise<void>((resolve) => (isRead = resolve))
    const { egress } = guard([], {
      rules: () => read.then(() => null),
      credentials: async () => (isRead(), bearer(['api.example'])),
    })
    await egress(new Request(`http://api.example:${port}/`), withSvc)
    expect(seen[0]!.headers.authorization).toBe(`Bearer ${token}`)
  })

  test('goes to no host but its own, and no request is made', async () => {
    const { port, seen } = await echo()
    for (const hosts of [['other.example'], ['api.example:1'], ['*.api.example'], []]) {
      await expect(guard([bearer(hosts)]).egress(new Request(`http://api.example:${port}/`), withSvc)).rejects.toEqual(
        refusal,
      )
    }
    expect(seen).toEqual([])
  })

  test('of another workspace, missing, or asked for without a workspace is refused alike', async () => {
    const { port, seen } = await echo()
    const { egress } = guard([bearer(['api.example'])])
    for (const options of [
      { workspaceId: 'w2', credential: 'svc' },
      { workspaceId, credential: 'none' },
      { credential: 'svc' },
    ]) {
      await expect(egress(new Request(`http://api.example:${port}/`), options)).rejects.toEqual(refusal)
    }
    expect(seen).toEqual([])
  })

  test('is not sent in the clear, unless the operator has opened the place', async () => {
    const sent: Request[] = []
    const { egress } = guard([bearer(['api.example'])], {
      config: { egressAllow: [] },
      resolve: async () => ['93.184.215.14'],
      fetch: async (request) => (sent.push(request), new Response('ok')),
    })
    await expect(egress(new Request('http://api.example/'), withSvc)).rejects.toEqual(refusal)
    await egress(new Request('https://api.example/'), withSvc)
    expect(sent.map((request) => request.headers.get('authorization'))).toEqual([`Bearer ${token}`])
  })

  test('stays with a redirect inside its origin and is lost outside of it, whoever the new host is', async () => {
    const other = await echo()
    const { port, seen } = await loopbackServer((request, response) => {
      response.writeHead(307, { location: request.url === '/a' ? '/b' : `http://other.example:${other.port}/c` }).end()
    })
    await guard([bearer(['api.example', 'other.example'])]).egress(
      new Request(`http://api.example:${port}/a`, { method: 'POST', body: 'x' }),
      withSvc,
    )
    expect(seen.map(({ headers }) => headers.authorization)).toEqual([`Bearer ${token}`, `Bearer ${token}`])
    expect(other.seen[0]).toMatchObject({ method: 'POST', body: 'x' })
    expect(other.seen[0]!.headers).not.toHaveProperty('authorization')
  })

  test('in a query is not carried off by the redirect of its own server', async () => {
    const other = await echo()
    const { port } = await loopbackServer((request, response) => {
      response.writeHead(302, { location: `http://thief.example:${other.port}${request.url}` }).end()
    })
    const credential: UsableCredential = {
      id: 'c1',
      slug: 'svc',
      kind: 'query',
      hosts: ['api.example'],
      fields: { name: 'key', value: token },
    }
    await expect(guard([credential]).egress(new Request(`http://api.example:${port}/`), withSvc)).rejects.toEqual(
      refusal,
    )
    expect(other.seen).toEqual([])
  })
})

describe('secret()', () => {
  const secret = secretPlaceholder('svc.token')

  test('is replaced in query, headers and text bodies, each in the way that keeps it one value', async () => {
    const { port, seen } = await echo()
    const value = 'a"b&c=d\\ e'
    const { egress } = guard([{ ...bearer(['api.example']), fields: { token: value } } as UsableCredential])
    const send = (path: string, init?: RequestInit) =>
      egress(new Request(`http://api.example:${port}${path}`, init), { workspaceId })
    await send(`/q?key=${secret}&z=1`)
    await send('/h', { headers: { 'x-key': `Token ${secret}` } })
    await send('/j', {
      method: 'POST',
      body: JSON.stringify({ a: secret }),
      headers: { 'content-type': 'application/json' },
    })
    await send('/f', { method: 'POST', body: new URLSearchParams({ a: secret, b: 'c' }) })
    await send('/t', { method: 'POST', body: `<a>${secret}</a>`, headers: { 'content-type': 'text/xml' } })
    expect(new URLSearchParams(seen[0]!.url.split('?')[1]).get('key')).toBe(value)
    expect(seen[1]!.headers['x-key']).toBe(`Token ${value}`)
    expect(JSON.parse(seen[2]!.body)).toEqual({ a: value })
    expect(Object.fromEntries(new URLSearchParams(seen[3]!.body))).toEqual({ a: value, b: 'c' })
    expect(seen[4]!.body).toBe(`<a>${value}</a>`)
  })

  test.each([
    ['a host it is not bound to', 'http://other.example:PORT/', { 'x-key': secret }],
    ['the path', `http://api.example:PORT/${secret}/x`, {}],
    ['the host', `http://${secret}.example:PORT/`, {}],
    ['an unknown field', 'http://api.example:PORT/', { 'x-key': secretPlaceholder('svc.password') }],
    ['an unknown credential', 'http://api.example:PORT/', { 'x-key': secretPlaceholder('none.token') }],
  ])('is refused for %s, before anything is sent', async (_, url, headers) => {
    const { port, seen } = await echo()
    const { egress } = guard([bearer(['api.example'])])
    await expect(
      egress(new Request(url.replace('PORT', String(port)), { headers: headers as Record<string, string> }), {
        workspaceId,
      }),
    ).rejects.toEqual(refusal)
    expect(seen).toEqual([])
  })

  test('in a header is dropped by a redirect to another origin; in a body it must be bound there too', async () => {
    const other = await echo()
    const { port } = await loopbackServer((_, response) =>
      response.writeHead(307, { location: `http://other.example:${other.port}/` }).end(),
    )
    const { egress } = guard([bearer(['api.example'])])
    await egress(new Request(`http://api.example:${port}/`, { headers: { 'x-key': secret } }), { workspaceId })
    expect(other.seen[0]!.headers).not.toHaveProperty('x-key')
    await expect(
      egress(new Request(`http://api.example:${port}/`, { method: 'POST', body: secret }), { workspaceId }),
    ).rejects.toEqual(refusal)
    expect(other.seen).toHaveLength(1)
  })

  test('a value that could end its header line is refused and not quoted', async () => {
    const { port, seen } = await echo()
    const { egress } = guard([{ ...bearer(['api.example']), fields: { token: 'a\r\nx-evil: 1' } } as UsableCredential])
    const error = await egress(new Request(`http://api.example:${port}/`, { headers: { 'x-key': secret } }), {
      workspaceId,
    }).catch((e: unknown) => e)
    expect(error).toEqual(refusal)
    expect(String(error)).not.toContain('evil')
    expect(seen).toEqual([])
  })

  test('bytes that are no text pass untouched', async () => {
    const { port, seen } = await echo()
    const bytes = new Uint8Array([0xff, 0xfe, 0, 1])
    await guard([]).egress(new Request(`http://api.example:${port}/`, { method: 'POST', body: bytes }), { workspaceId })
    expect(seen[0]!.headers['content-length']).toBe('4')
  })
})

test('no failure and no log line tells a secret or a query', async () => {
  const { port, server } = await loopbackServer((request, response) => {
    if (request.url?.startsWith('/cut')) response.destroy()
    else if (request.url?.startsWith('/loop')) response.writeHead(302, { location: request.url }).end()
    else response.writeHead(302, { location: 'http://10.0.0.1/?own=mine-91' }).end()
  })
  const credential: UsableCredential = {
    id: 'c1',
    slug: 'svc',
    kind: 'query',
    hosts: ['api.example'],
    fields: { name: 'key', value: token },
  }
  const { egress, lines } = guard([credential])
  const errors: unknown[] = []
  for (const path of ['/cut', '/loop', '/refused']) {
    await egress(new Request(`http://api.example:${port}${path}?own=mine-91`), withSvc).catch((error: Error) =>
      errors.push(error.message),
    )
  }
  server.close()
  expect(errors).toHaveLength(3)
  expect(lines.length).toBeGreaterThan(0)
  const told = JSON.stringify([errors, lines])
  expect(told).not.toContain(token)
  expect(told).not.toContain('mine-91')
})
