import { expect, test } from 'vitest'
import { secretPlaceholder } from '../../src/lib/language/secrets.ts'
import { createCipher } from '../../src/runtime/cipher.ts'
import { createEgress, type EgressParts } from '../../src/runtime/egress.ts'

const log: EgressParts['log'] = { debug() {}, info() {}, warn() {}, error() {}, with: () => log }

/** As a Worker has it: names cannot be resolved, the platform connects. */
function guard(answer: (request: Request) => Response) {
  const sent: Request[] = []
  const egress = createEgress({
    config: { egressAllow: [] },
    fetch: async (request) => {
      sent.push(request.clone())
      return answer(request)
    },
    resolve: null,
    credentials: async () => ({
      id: 'c1',
      slug: 'svc',
      kind: 'bearer',
      hosts: ['api.example.com'],
      fields: { token: 'tok' },
    }),
    log,
  })
  return { egress, sent }
}

test('the guard builds its requests and counts its answers with what workerd offers', async () => {
  const { egress, sent } = guard((request) =>
    request.url.endsWith('/a')
      ? new Response(null, { status: 307, headers: { location: '/b' } })
      : new Response('x'.repeat(100)),
  )
  const request = () =>
    new Request('https://api.example.com/a', { method: 'POST', body: `{"key":"${secretPlaceholder('svc.token')}"}` })
  const response = await egress(request(), { workspaceId: 'w', credential: 'svc' })
  expect([response.status, (await response.text()).length]).toEqual([200, 100])
  expect(sent.map(({ url, method }) => `${method} ${url}`)).toEqual([
    'POST https://api.example.com/a',
    'POST https://api.example.com/b',
  ])
  expect(await sent[1]!.text()).toBe('{"key":"tok"}')
  expect(sent[1]!.headers.get('authorization')).toBe('Bearer tok')
  const capped = await egress(request(), { workspaceId: 'w', credential: 'svc', maxResponseBytes: 99 })
  await expect(capped.text()).rejects.toMatchObject({ kind: 'egress-too-large' })
})

test.each([
  'http://127.0.0.1/',
  'http://0x7f.1/',
  'http://[::ffff:10.0.0.1]/',
  'http://metadata.google.internal/',
  'http://u:p@example.com/',
])('%s is refused', async (url) => {
  const { egress, sent } = guard(() => new Response())
  await expect(egress(new Request(url))).rejects.toMatchObject({ kind: 'egress-refused' })
  expect(sent).toEqual([])
})

test('a call that never answers is given up', async () => {
  const egress = createEgress({
    config: { egressAllow: [] },
    fetch: () => new Promise(() => {}),
    resolve: null,
    credentials: async () => null,
    log,
  })
  await expect(egress(new Request('https://example.com/'), { timeoutMs: 20 })).rejects.toMatchObject({
    kind: 'egress-timeout',
  })
})

test('what the cipher seals here, it opens here', async () => {
  const cipher = createCipher(`k:${btoa('k'.repeat(32))}`)
  expect(await cipher.open(await cipher.seal('schlüssel', 'place'), 'place')).toBe('schlüssel')
})
