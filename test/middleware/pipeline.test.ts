import { z } from '@hono/zod-openapi'
import { expect, test } from 'vitest'
import { operation, reply, type RouteGroup } from '../../src/lib/operation.ts'
import { createTestApp } from '../support/app.ts'

const things: RouteGroup = {
  prefix: '/api/things',
  tag: 'things',
  description: 'For this test.',
  operations: [
    operation(
      {
        operationId: 'listThings',
        method: 'get',
        path: '/',
        summary: 'List',
        access: 'agents:read',
        query: z.object({ limit: z.coerce.number().int().max(200).default(50) }),
        responses: { 200: { description: 'Things' } },
      },
      (ctx, { query }) => reply(200, { items: [], limit: query.limit, workspace: ctx.actor.workspaceId }),
    ),
    operation(
      {
        operationId: 'makeThing',
        method: 'post',
        path: '/{thing}',
        summary: 'Make',
        access: 'agents:write',
        params: z.object({ thing: z.string().max(5) }),
        body: z.strictObject({ name: z.string(), size: z.number() }),
        responses: { 201: { description: 'Thing' } },
      },
      (_ctx, { body, params }) => reply(201, { ...body, thing: params.thing }, { location: '/x' }),
    ),
    operation(
      { operationId: 'breakThing', method: 'get', path: '/broken', summary: 'Break', access: 'public', responses: {} },
      () => {
        throw new Error('select secret from vault')
      },
    ),
  ],
}
const { app, get, post, signIn, workspaceId } = await createTestApp({ groups: [things] })

test('an operation answers with the headers of every layer', async () => {
  const response = await get('/api/things?limit=7', { 'x-request-id': 'abc' })
  expect(await response.json()).toEqual({ items: [], limit: 7, workspace: workspaceId })
  expect(Object.fromEntries(response.headers)).toMatchObject({
    'content-type': 'application/json',
    'x-request-id': 'abc',
    'x-frame-options': 'DENY',
    vary: 'Origin',
    'ratelimit-limit': '100000',
  })
})

test('one answer names all faults', async () => {
  const response = await post('/api/things/too-long', { name: 1, colour: 'red' })
  expect(response.status).toBe(422)
  const problem = (await response.json()) as { errors: { pointer: string }[] }
  expect(problem.errors.map((fault) => fault.pointer).toSorted()).toEqual([
    '/colour',
    '/name',
    '/params/thing',
    '/size',
  ])
})

test('401 without a key, 403 without the permission', async () => {
  expect((await app.request('/api/things')).status).toBe(401)
  expect((await (await signIn({ scopes: [] })).get('/api/things/')).status).toBe(403)
})

test('a bug answers a bare 500 with an id', async () => {
  const response = await app.request('/api/things/broken')
  expect(response.status).toBe(500)
  expect(await response.text()).not.toContain('vault')
})

test('404 and 405 are problems too', async () => {
  expect((await get('/api/nothing')).status).toBe(404)
  const wrong = await post('/api/things', {})
  expect(wrong.status).toBe(405)
  expect(wrong.headers.get('allow')).toBe('GET, HEAD, OPTIONS')
})
