import { z } from '@hono/zod-openapi'
import { expect, test } from 'vitest'
import { createApiDocument } from '../../src/app.ts'
import { operation, reply, type RouteGroup } from '../../src/lib/operation.ts'
import { createSupervisor } from '../../src/runtime/supervisor.ts'
import { backgroundServices } from '../../src/services/background.ts'
import { beat } from '../../src/services/heartbeat/beat.ts'
import { createTestApp, testConfig } from '../support/app.ts'
import type { Problem } from '../support/things.ts'

const { app, database, get, runtime, signIn, workspaceId } = await createTestApp()
const paths = ['/api/heartbeat/instances', '/api/heartbeat/services', '/api/heartbeat/status']

test('one instance answers for another, with nothing kept by caches', async () => {
  const other = await createTestApp({ database })
  const secret = new Error(`duplicate key: workspace ${workspaceId}`)
  const failing = { name: 'failing', periodMs: 60_000, tick: () => Promise.reject(secret) }
  const supervisor = createSupervisor(other.runtime, [failing])
  await expect.poll(() => other.runtime.services!()[0]!.failures).toBe(1)
  await beat(other.runtime)
  await supervisor.stop()

  const [instances, services, status] = await Promise.all(paths.map((path) => get(path)))
  expect(instances!.headers.get('cache-control')).toBe('no-store')
  expect(await instances!.json()).toMatchObject({
    items: [
      { id: other.runtime.instance, state: 'alive', host: null, load: { runs_in_flight: 0, memory_bytes: null } },
    ],
    next_cursor: null,
  })
  const told = await services!.text()
  expect(JSON.parse(told)).toMatchObject({
    items: [{ instance: other.runtime.instance, name: 'failing', last_result: 'failed', last_error: 'Error' }],
  })
  expect(await status!.json()).toMatchObject({
    status: 'degraded',
    instances: { alive: 1 },
    troubled_services: [{ name: 'failing', failures_in_a_row: 1 }],
  })
  // Every workspace's viewers may read this, so no message of an error goes in: it may speak of another workspace.
  for (const path of paths) expect(await (await get(path)).text()).not.toContain(workspaceId)
})

test('states and cursors that are none are refused', async () => {
  expect((await get('/api/heartbeat/instances?state=asleep')).status).toBe(422)
  expect((await get('/api/heartbeat/services?cursor=nowhere')).status).toBe(422)
  expect((await get('/api/heartbeat/instances?limit=0')).status).toBe(422)
})

test.each(paths)('%s is shown to those who may read the system', async (path) => {
  expect((await app.request(path)).status).toBe(401)
  expect((await (await signIn({ scopes: ['agents:read'] })).get(path)).status).toBe(403)
  expect((await (await signIn({ scopes: ['system:read'] })).get(path)).status).toBe(200)
})

test.each(paths)('with the heartbeat off %s says what to set, to those who may know', async (path) => {
  const off = await createTestApp({ database, config: { heartbeatEnabled: false } })
  const response = await off.get(`${path}?limit=none`)
  expect(response.status).toBe(503)
  expect(await response.json()).toMatchObject({
    type: '/problems/not-configured',
    detail: 'The heartbeat is switched off: set HEARTBEAT_ENABLED=true.',
  })
  expect((await off.app.request(path)).status).toBe(401)
  expect((await (await off.signIn({ scopes: ['agents:read'] })).get(path)).status).toBe(403)
})

interface Described {
  'x-requires'?: string[]
  responses: Record<string, { description: string }>
}

test.each([true, false])('the document names the setting, switched on or not (%s)', (heartbeatEnabled) => {
  const { paths: described } = createApiDocument(testConfig({ heartbeatEnabled }))
  for (const path of paths) {
    const node = (described![path] as { get: Described }).get
    expect(node['x-requires']).toEqual(['HEARTBEAT_ENABLED'])
    expect(node.responses['503']!.description).toContain('not-configured')
  }
  expect((described!['/health'] as { get: Described }).get['x-requires']).toBeUndefined()
})

test('an operation may require something of its own, before its input is looked at', async () => {
  const needs = (met: boolean) => ({ settings: ['MAIL_URL'], met, detail: 'Set MAIL_URL.' })
  const send = (path: string, requires?: ReturnType<typeof needs>) =>
    operation(
      {
        operationId: 'sendMail',
        method: 'post',
        path,
        summary: 'Send',
        access: 'authenticated',
        body: z.object({ to: z.string() }),
        responses: { 200: { description: 'Sent' } },
        ...(requires && { requires }),
      },
      (_, { body }) => reply(200, body),
    )
  const group: RouteGroup = {
    prefix: '/mail',
    tag: 'Mail',
    description: 'Mail.',
    requires: needs(false),
    operations: [send('/by-group'), send('/own', needs(true))],
  }
  const mail = await createTestApp({ database, groups: [group] })
  const refused = await mail.post('/mail/by-group', { nonsense: true })
  expect([refused.status, ((await refused.json()) as Problem).detail]).toEqual([503, 'Set MAIL_URL.'])
  expect((await mail.post('/mail/own', { nonsense: true })).status).toBe(422)
  expect((await mail.post('/mail/own', { to: 'a' })).status).toBe(200)
})

test('the service that beats is there when it is switched on', async () => {
  const names = (heartbeatEnabled: boolean) =>
    backgroundServices({ ...runtime.config, heartbeatEnabled }).map(({ name }) => name)
  expect(names(true).at(-1)).toBe('heartbeat')
  expect(names(false)).not.toContain('heartbeat')
})
