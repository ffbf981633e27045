import { expect, test } from 'vitest'
import { z } from '@hono/zod-openapi'
import { jsonb } from '../../../src/db/json.ts'
import { operation, reply, type RouteGroup } from '../../../src/lib/operation.ts'
import { openWidgetSession } from '../../../src/services/identity/widget-session.ts'
import { revokeApiKey, rotateApiKey } from '../../../src/services/api-keys.service.ts'
import { createTestApp } from '../../support/app.ts'

// What a widget calls, and what only servers call, as far as identity is concerned.
const groups: RouteGroup[] = [
  {
    prefix: '/api/widgets',
    tag: 'Widgets',
    description: 'For tests.',
    operations: [
      operation(
        {
          operationId: 'getPing',
          method: 'get',
          path: '/ping',
          summary: 'Ping',
          access: 'authenticated',
          responses: { 200: { description: 'Who.', schema: z.object({}) } },
        },
        async ({ actor }) => reply(200, { workspace: actor.workspaceId, permissions: [...actor.permissions] }),
      ),
    ],
  },
  {
    prefix: '/api/servers',
    tag: 'Servers',
    description: 'For tests.',
    operations: [
      operation(
        {
          operationId: 'getServerPing',
          method: 'get',
          path: '/ping',
          summary: 'Ping',
          access: 'authenticated',
          responses: { 200: { description: 'OK.', schema: z.object({}) } },
        },
        async () => reply(200, {}),
      ),
    ],
  },
]

let aheadMs = 0
const clock = { now: () => new Date(Date.now() + aheadMs), monotonicMs: () => performance.now() + aheadMs }
const app = await createTestApp({ groups, runtime: { clock } })
const shop = 'https://shop.example'
const forbidden = expect.objectContaining({ kind: 'forbidden' })

const exchange = (apiKey: string, origin: string | null = shop, address = '203.0.113.7') =>
  openWidgetSession(app.runtime, { apiKey, origin, address })
const as = ({ keyId, workspaceId }: { keyId: string; workspaceId: string }) => ({
  ...app.runtime,
  actor: { kind: 'key' as const, id: keyId, workspaceId, permissions: new Set(['api-keys:manage'] as const) },
})
const ping = (token: string, origin: string | null = shop, path = '/api/widgets/ping') =>
  app.app.request(path, { headers: { authorization: `Bearer ${token}`, ...(origin !== null && { origin }) } })

test('a server key becomes a token for its page: of its workspace, with no permission, for widgets alone', async () => {
  const key = await app.signIn()
  const session = await exchange(key.key)
  expect(session).toMatchObject({ workspaceId: key.workspaceId })
  expect(session.sessionToken).toMatch(/^wst_/)
  expect(session.sessionToken).not.toContain(key.key.slice(7))
  // The client renews five minutes before the end and keeps what lasts a minute more: an hour is well beyond both.
  expect(session.expiresAt.getTime() - clock.now().getTime()).toBeGreaterThan(59 * 60_000)
  const answer = await ping(session.sessionToken)
  expect([answer.status, await answer.json()]).toEqual([200, { workspace: key.workspaceId, permissions: [] }])
  expect((await ping(session.sessionToken, shop, '/api/servers/ping')).status).toBe(403)
})

test('several exchanges side by side leave each other their tokens', async () => {
  const { key } = await app.signIn()
  const tokens = (await Promise.all([exchange(key), exchange(key), exchange(key)])).map((each) => each.sessionToken)
  expect(new Set(tokens).size).toBe(3)
  for (const token of tokens) expect((await ping(token)).status).toBe(200)
})

test('it is good on the page that asked for it, and no other; asked for by no page, on any', async () => {
  const { key } = await app.signIn()
  const { sessionToken } = await exchange(key, 'https://shop.example:8443')
  expect((await ping(sessionToken, 'https://shop.example:8443')).status).toBe(200)
  for (const origin of [shop, 'https://evil.example', 'https://evilshop.example:8443', 'null', null]) {
    expect((await ping(sessionToken, origin)).status, String(origin)).toBe(403)
  }
  expect((await ping((await exchange(key, null)).sessionToken, 'https://any.example')).status).toBe(200)
  for (const origin of ['null', 'file:///x', 'nonsense']) await expect(exchange(key, origin)).rejects.toEqual(forbidden)
})

test('a public key, an unknown one and one from a wrong address are not exchanged', async () => {
  const widget = await app.signIn({ kind: 'widget', allowedDomains: ['shop.example'] })
  await expect(exchange(widget.key)).rejects.toEqual(forbidden)
  await expect(exchange(`ak_srv_${'0'.repeat(64)}`)).rejects.toMatchObject({ kind: 'unauthenticated' })
  await expect(exchange('nonsense')).rejects.toMatchObject({ kind: 'unauthenticated' })
  const bound = await app.signIn()
  await app.db
    .updateTable('api_keys')
    .set({ allowed_ips: jsonb(['203.0.113.0/24']) })
    .where('id', '=', bound.keyId)
    .execute()
  await expect(exchange(bound.key, shop, '198.51.100.1')).rejects.toEqual(forbidden)
  expect((await exchange(bound.key, shop)).workspaceId).toBe(bound.workspaceId)
})

test('it ends with its hour and, at once, with its key; and nothing that is no session opens anything', async () => {
  const key = await app.signIn()
  const { sessionToken } = await exchange(key.key)
  try {
    aheadMs = 3_600_000
    expect((await ping(sessionToken)).status).toBe(401)
  } finally {
    aheadMs = 0
  }
  expect((await ping(sessionToken)).status).toBe(200)
  await revokeApiKey(as(key), key.keyId)
  expect((await ping(sessionToken)).status).toBe(401)
  const good = (await exchange((await app.signIn()).key)).sessionToken
  for (const token of ['wst_', `wst_${'x'.repeat(300)}`, `${good}x`, good.replace('wst_', 'wst_x'), good.slice(4)]) {
    expect((await ping(token)).status, token.slice(0, 20)).toBe(401)
  }
})

test('it ends with the text of the key that it was given for, and not with another one', async () => {
  const key = await app.signIn()
  const first = await exchange(key.key)
  const second = (await rotateApiKey(as(key), key.keyId, { overlapSeconds: 60 })).key
  const next = await exchange(second)
  const statuses = () => Promise.all([first, next].map(async (each) => (await ping(each.sessionToken)).status))
  expect(await statuses()).toEqual([200, 200])
  const third = (await rotateApiKey(as(key), key.keyId, { overlapSeconds: 60 })).key
  expect(await statuses()).toEqual([401, 200])
  await rotateApiKey(as(key), key.keyId, { overlapSeconds: 0 })
  expect(await statuses()).toEqual([401, 401])
  await expect(exchange(third)).rejects.toMatchObject({ kind: 'unauthenticated' })
})
