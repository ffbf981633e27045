import { gzipSync } from 'node:zlib'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { DatabaseAway } from '../../src/lib/database-away.ts'
import { EgressError } from '../../src/lib/egress-error.ts'
import { createEgress, type EgressParts } from '../../src/runtime/egress.ts'
import { pinnedFetch } from '../../src/runtime/node/pinned-fetch.ts'
import { loopbackServer } from '../support/loopback-server.ts'

const log: EgressParts['log'] = { debug() {}, info() {}, warn() {}, error() {}, with: () => log }

function guard(options: { allow?: string[]; names?: Record<string, string[]>; fetch?: EgressParts['fetch'] } = {}) {
  return createEgress({
    config: { egressAllow: options.allow ?? ['127.0.0.0/8'] },
    fetch: options.fetch ?? pinnedFetch,
    resolve: async (host) => {
      const addresses = options.names?.[host]
      if (!addresses) throw new Error('ENOTFOUND')
      return addresses
    },
    credentials: async () => null,
    log,
  })
}

/** A network in which every call answers, so that only the guard can refuse one. */
function openNetwork() {
  const called: { url: string; addresses: string[] | null }[] = []
  const fetch: EgressParts['fetch'] = async (request, addresses) => {
    called.push({ url: request.url, addresses })
    return new Response('reached')
  }
  return { called, fetch }
}

const refusal = expect.objectContaining({ name: 'EgressError', kind: 'egress-refused' })

describe('destinations', () => {
  test.each([
    'http://127.0.0.1/',
    'http://2130706433/',
    'http://0x7f.1/',
    'http://017700000001/',
    'http://[::1]/',
    'http://[::ffff:10.0.0.1]/',
    'http://[64:ff9b::a00:1]/',
    'http://10.0.0.1/',
    'http://172.16.3.4/',
    'http://192.168.1.1/',
    'http://100.64.0.1/',
    'http://0.0.0.0/',
    'http://169.254.169.254/latest/meta-data/',
    'http://[fd00:ec2::254]/',
    'http://metadata.google.internal/',
    'http://localhost/',
    'http://db.localhost/',
    'http://printer.local/',
    'http://redis:6379/',
    'http://224.0.0.1/',
    'ftp://example.com/',
    'data:text/plain,x',
  ])('%s is refused before anything is sent', async (url) => {
    const { called, fetch } = openNetwork()
    await expect(guard({ allow: [], fetch })(new Request(url))).rejects.toEqual(refusal)
    expect(called).toEqual([])
  })

  test('a URL with a user name is refused', async () => {
    // Node's Request refuses one itself; a Worker's does not.
    const request = {
      url: 'http://user:pw@example.com/',
      method: 'GET',
      headers: new Headers(),
      body: null,
      signal: new AbortController().signal,
    }
    await expect(guard({ fetch: openNetwork().fetch })(request as unknown as Request)).rejects.toEqual(refusal)
  })

  test('a public name is connected to at the addresses that were checked', async () => {
    const { called, fetch } = openNetwork()
    const egress = guard({
      allow: [],
      fetch,
      names: { 'example.com': ['93.184.215.14', '2606:2800:21f:cb07:6820:80da:af6b:8b2c'] },
    })
    expect(await (await egress(new Request('https://example.com/a?b=c#d'))).text()).toBe('reached')
    expect(called).toEqual([
      { url: 'https://example.com/a?b=c', addresses: ['93.184.215.14', '2606:2800:21f:cb07:6820:80da:af6b:8b2c'] },
    ])
  })

  test.each([
    [['10.0.0.1']],
    [['93.184.215.14', '127.0.0.1']],
    [['::1']],
    [['::ffff:93.184.215.14']],
    [['169.254.169.254']],
  ])('a name that resolves to %j is refused, and the message does not tell the address', async (addresses) => {
    const { called, fetch } = openNetwork()
    const error = await guard({ allow: [], fetch, names: { 'evil.example': addresses } })(
      new Request('http://evil.example/'),
    ).catch((e: unknown) => e)
    expect(error).toEqual(refusal)
    for (const address of addresses) expect(String(error)).not.toContain(address)
    expect(called).toEqual([])
  })

  test('EGRESS_ALLOW opens a name, a suffix, an address and a range, and nothing beside them', async () => {
    const { fetch } = openNetwork()
    const names = {
      'intranet.example.com': ['10.0.0.5'],
      'a.corp.example': ['10.0.0.6'],
      'b.example.com': ['10.9.9.9'],
      'c.example.com': ['10.0.0.7'],
    }
    const egress = guard({
      fetch,
      names,
      allow: ['intranet.example.com', '*.corp.example:8080', '192.168.7.20:8080', '10.9.0.0/16'],
    })
    const reach = async (url: string) =>
      (await egress(new Request(url)).catch((e: EgressError) => e.kind)) instanceof Response
    expect(
      await Promise.all(
        [
          'http://intranet.example.com/',
          'http://a.corp.example:8080/',
          'http://192.168.7.20:8080/',
          'http://b.example.com/',
          'http://10.9.0.1/',
        ].map(reach),
      ),
    ).toEqual([true, true, true, true, true])
    expect(
      await Promise.all(
        ['http://a.corp.example/', 'http://192.168.7.20/', 'http://c.example.com/', 'http://10.8.0.1/'].map(reach),
      ),
    ).toEqual([false, false, false, false])
  })

  test('a name that the operator opened still cannot be pointed at a metadata service', async () => {
    const { fetch } = openNetwork()
    const egress = guard({
      fetch,
      allow: ['intranet.example.com'],
      names: { 'intranet.example.com': ['169.254.169.254'] },
    })
    await expect(egress(new Request('http://intranet.example.com/'))).rejects.toEqual(refusal)
  })

  test('a name is asked once: what the resolver would say next does not count', async () => {
    const { port, seen } = await loopbackServer((_, response) => response.end('the checked one'))
    const answers = [['127.0.0.1'], ['10.0.0.1']]
    let asked = 0
    const egress = createEgress({
      config: { egressAllow: ['127.0.0.1'] },
      fetch: pinnedFetch,
      resolve: async () => answers[asked++]!,
      credentials: async () => null,
      log,
    })
    const response = await egress(new Request(`http://rebind.example:${port}/`))
    expect(await response.text()).toBe('the checked one')
    expect(asked).toBe(1)
    expect(seen[0]!.headers.host).toBe(`rebind.example:${port}`)
  })

  test('without a resolver, as on Workers, literals and names are still judged', async () => {
    const { called, fetch } = openNetwork()
    const egress = createEgress({
      config: { egressAllow: [] },
      fetch,
      resolve: null,
      credentials: async () => null,
      log,
    })
    expect(await (await egress(new Request('https://example.com/'))).text()).toBe('reached')
    expect(called[0]!.addresses).toBeNull()
    for (const url of ['http://127.0.0.1/', 'http://localhost/', 'http://a.internal/', 'http://[::1]/']) {
      await expect(egress(new Request(url))).rejects.toEqual(refusal)
    }
  })

  test('a name that does not exist fails, and is not called refused', async () => {
    await expect(guard()(new Request('http://nowhere.example/'))).rejects.toMatchObject({
      kind: 'egress-failed',
      message: 'nowhere.example cannot be resolved.',
    })
  })
})

describe('requests', () => {
  test('method, headers and body arrive; headers of the connection do not', async () => {
    const { port, seen } = await loopbackServer((_, response) =>
      response.writeHead(201, { 'x-a': 'b' }).end('{"ok":true}'),
    )
    const response = await guard()(
      new Request(`http://127.0.0.1:${port}/p?q=1`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json', 'x-own': 'yes', host: 'other.example', te: 'trailers' },
        body: '{"a":1}',
      }),
    )
    expect([response.status, response.headers.get('x-a'), await response.json()]).toEqual([201, 'b', { ok: true }])
    expect(seen[0]).toMatchObject({
      method: 'PUT',
      url: '/p?q=1',
      body: '{"a":1}',
      headers: { 'x-own': 'yes', host: `127.0.0.1:${port}` },
    })
    expect(seen[0]!.headers).not.toHaveProperty('te')
  })

  test('a signal of the caller ends it with the reason that the caller gave', async () => {
    const reason = new Error('canceled by a person')
    const controller = new AbortController()
    const { port } = await loopbackServer(() => controller.abort(reason))
    await expect(guard()(new Request(`http://127.0.0.1:${port}/`), { signal: controller.signal })).rejects.toBe(reason)
    await expect(guard()(new Request(`http://127.0.0.1:${port}/`), { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    )
  })
})

describe('caps', () => {
  test('a silent server is given up after the timeout', async () => {
    const { port } = await loopbackServer(() => {})
    await expect(guard()(new Request(`http://127.0.0.1:${port}/`), { timeoutMs: 50 })).rejects.toMatchObject({
      kind: 'egress-timeout',
    })
  })

  test('the timeout counts for the body as well', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const { port } = await loopbackServer((_, response) => void response.write('begin'))
    const response = await guard()(new Request(`http://127.0.0.1:${port}/`), { timeoutMs: 150 })
    const body = response.body!.getReader()
    expect(new TextDecoder().decode((await body.read()).value)).toBe('begin')
    const failure = expect(body.read()).rejects.toMatchObject({ kind: 'egress-timeout' })
    vi.advanceTimersByTime(150)
    await failure
  })

  test('a resolver that never answers is given up as well', async () => {
    const egress = createEgress({
      config: { egressAllow: [] },
      fetch: pinnedFetch,
      resolve: () => new Promise(() => {}),
      credentials: async () => null,
      log,
    })
    await expect(egress(new Request('http://example.com/'), { timeoutMs: 20 })).rejects.toMatchObject({
      kind: 'egress-timeout',
    })
  })

  test('an announced size above the cap is refused before the body is read', async () => {
    const { port } = await loopbackServer(
      (_, response) => void response.writeHead(200, { 'content-length': '2000' }).write('x'),
    )
    await expect(guard()(new Request(`http://127.0.0.1:${port}/`), { maxResponseBytes: 1000 })).rejects.toMatchObject({
      kind: 'egress-too-large',
    })
  })

  test('a body without an announced size is counted', async () => {
    const { port } = await loopbackServer((_, response) => {
      for (let i = 0; i < 20; i++) response.write('x'.repeat(100))
      response.end()
    })
    const response = await guard()(new Request(`http://127.0.0.1:${port}/`), { maxResponseBytes: 1999 })
    await expect(response.text()).rejects.toMatchObject({ kind: 'egress-too-large' })
    expect(
      await (await guard()(new Request(`http://127.0.0.1:${port}/`), { maxResponseBytes: 2000 })).text(),
    ).toHaveLength(2000)
  })

  test('a small answer that unpacks to a large one is counted unpacked', async () => {
    const bomb = gzipSync(Buffer.alloc(20_000_000))
    const { port } = await loopbackServer((_, response) =>
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': bomb.length }).end(bomb),
    )
    const response = await guard()(new Request(`http://127.0.0.1:${port}/`))
    const outcome = await response.arrayBuffer().then(
      (body) => `${body.byteLength} bytes`,
      (error: EgressError) => error.kind,
    )
    expect(outcome).toBe('egress-too-large')
  })

  test('an answer that is cut off fails and is not taken for a whole one', async () => {
    const { port } = await loopbackServer((_, response) => {
      response.writeHead(200, { 'content-length': '100' })
      response.write('abc', () => response.destroy())
    })
    const failure = await guard()(new Request(`http://127.0.0.1:${port}/`))
      .then((response) => response.text())
      .catch((e: unknown) => e)
    expect(failure).toMatchObject({ kind: 'egress-failed' })
  })

  test('headers without end fail', async () => {
    const { port } = await loopbackServer((_, response) =>
      response.writeHead(200, { 'x-long': 'x'.repeat(100_000) }).end(),
    )
    await expect(guard()(new Request(`http://127.0.0.1:${port}/`))).rejects.toMatchObject({ kind: 'egress-failed' })
  })

  test('a refused connection fails without telling the address of a name', async () => {
    const error = await guard({ names: { 'a.example': ['127.0.0.1'] } })(new Request('http://a.example:1/')).catch(
      (e: unknown) => e,
    )
    expect(error).toMatchObject({ kind: 'egress-failed' })
    expect(String(error)).not.toContain('127.0.0.1')
  })
})

describe('redirects', () => {
  test('are followed, relative ones too, and the last answer is given', async () => {
    const { port, seen } = await loopbackServer((request, response) => {
      if (request.url === '/a') response.writeHead(302, { location: 'b?x=1' }).end()
      else response.end('there')
    })
    const response = await guard()(new Request(`http://127.0.0.1:${port}/a`))
    expect([response.status, await response.text(), seen.map(({ url }) => url)]).toEqual([
      200,
      'there',
      ['/a', '/b?x=1'],
    ])
  })

  test.each([
    'http://10.0.0.1/',
    'http://169.254.169.254/',
    'http://localhost/',
    'file:///etc/passwd',
    'http://u:p@127.0.0.1/',
    'http://inner.example/',
  ])('to %s is refused', async (location) => {
    const { port, seen } = await loopbackServer((_, response) => response.writeHead(302, { location }).end())
    const egress = guard({ allow: [`127.0.0.1:${port}`], names: { 'inner.example': ['192.168.0.1'] } })
    await expect(egress(new Request(`http://127.0.0.1:${port}/`))).rejects.toEqual(refusal)
    expect(seen).toHaveLength(1)
  })

  test('without end are given up after five', async () => {
    const { port, seen } = await loopbackServer((_, response) => response.writeHead(302, { location: '/again' }).end())
    await expect(guard()(new Request(`http://127.0.0.1:${port}/`))).rejects.toMatchObject({ kind: 'egress-failed' })
    expect(seen).toHaveLength(6)
    await expect(guard()(new Request(`http://127.0.0.1:${port}/`), { maxRedirects: 0 })).rejects.toMatchObject({
      kind: 'egress-failed',
    })
  })

  test.each([
    [301, 'POST', 'GET', ''],
    [302, 'POST', 'GET', ''],
    [303, 'POST', 'GET', ''],
    [303, 'PUT', 'GET', ''],
    [302, 'PUT', 'PUT', 'body'],
    [307, 'POST', 'POST', 'body'],
    [308, 'DELETE', 'DELETE', 'body'],
  ])('%i turns %s into %s', async (status, method, then, body) => {
    const { port, seen } = await loopbackServer((request, response) => {
      if (request.url === '/a') response.writeHead(status, { location: '/b' }).end()
      else response.end()
    })
    const sent: RequestInit = { method, body: 'body', headers: { 'content-type': 'text/plain' } }
    await guard()(new Request(`http://127.0.0.1:${port}/a`, sent))
    expect(seen[1]).toMatchObject({ method: then, body })
    expect(seen[1]!.headers['content-type']).toBe(body === '' ? undefined : 'text/plain')
  })

  test('to another origin lose authorization and cookies, within the origin they keep them', async () => {
    const other = await loopbackServer((_, response) => response.end('other'))
    const { port, seen } = await loopbackServer((request, response) => {
      response.writeHead(302, { location: request.url === '/a' ? '/b' : `http://127.0.0.1:${other.port}/c` }).end()
    })
    await guard()(
      new Request(`http://127.0.0.1:${port}/a`, {
        headers: { authorization: 'Bearer own', cookie: 'a=b', 'x-api-key': 'k', 'x-kept': 'yes' },
      }),
    )
    expect(seen[1]!.headers).toMatchObject({ authorization: 'Bearer own', cookie: 'a=b' })
    expect(other.seen[0]!.headers).toMatchObject({ 'x-kept': 'yes' })
    for (const name of ['authorization', 'cookie', 'x-api-key']) expect(other.seen[0]!.headers).not.toHaveProperty(name)
  })
})

test('a database that is away is told as it is, before anything is sent, so that the step can wait for it', async () => {
  const { called, fetch } = openNetwork()
  const egress = createEgress({
    config: { egressAllow: ['127.0.0.0/8'] },
    fetch,
    resolve: async () => ['127.0.0.1'],
    credentials: async () => null,
    rules: () => Promise.reject(new DatabaseAway(null)),
    log,
  })
  const sending = egress(new Request('http://127.0.0.1/'), { workspaceId: crypto.randomUUID() })
  await expect(sending).rejects.toBeInstanceOf(DatabaseAway)
  expect(called).toEqual([])
})
