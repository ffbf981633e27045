import { expect, test } from 'vitest'
import { isPermission, permissions, rolePermissions } from '../../src/lib/permissions.ts'
import { createTestApp } from '../support/app.ts'

const { signIn } = await createTestApp()

test('the role table and what the key holds', async () => {
  const client = await signIn({ scopes: ['recipes:read', 'agents:read', 'no:such'] })
  const answer = await client.get('/api/permissions')
  expect(answer.status).toBe(200)
  expect(await answer.json()).toEqual({
    permissions: [...permissions],
    roles: rolePermissions,
    effective: ['agents:read', 'recipes:read'],
  })
})

test('a stranger is told nothing', async () => {
  const client = await signIn()
  expect((await client.get('/api/permissions', { authorization: '' })).status).toBe(401)
  expect((await client.get('/api/permissions', { authorization: `Bearer ak_srv_${'0'.repeat(64)}` })).status).toBe(401)
})

test('each role holds all that the role below it holds, and only permissions that exist', () => {
  const { owner, admin, editor, viewer } = rolePermissions
  for (const [upper, lower] of [
    [owner, admin],
    [admin, editor],
    [editor, viewer],
  ] as const) {
    expect(lower.filter((permission) => !(upper as readonly string[]).includes(permission))).toEqual([])
    expect(upper.every(isPermission)).toBe(true)
  }
  expect([...viewer].every((permission) => permission.endsWith(':read'))).toBe(true)
  expect(viewer).not.toContain('credentials:read')
})
