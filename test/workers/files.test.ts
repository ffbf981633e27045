import { env, exports } from 'cloudflare:workers'
import { expect, inject, test } from 'vitest'
import './support/provided.ts'

const headers = { authorization: `Bearer ${inject('workersAdminKey')}` }
const call = (path: string, init: RequestInit = {}) =>
  exports.default.fetch(`http://localhost${path}`, { ...init, headers: { ...headers, ...init.headers } })
const binary = new Uint8Array([0, 255, 128, 13, 10, 7])

test.each([
  ['as it is', () => ({ body: binary, headers: { 'content-type': 'image/png' } }), '?name=a.png'],
  [
    'in a form',
    () => {
      const body = new FormData()
      body.append('file', new File([binary], 'a.png', { type: 'image/png' }))
      return { body }
    },
    '',
  ],
] as [string, () => RequestInit, string][])(
  'a file that comes %s is kept, given out and deleted',
  async (_, init, query) => {
    const uploaded = await call(`/api/files${query}`, { method: 'POST', ...init() })
    const file = (await uploaded.json()) as { id: string; name: string; media_type: string; size: number }
    expect(uploaded.status, JSON.stringify(file)).toBe(201)
    expect(file).toMatchObject({ name: 'a.png', media_type: 'image/png', size: 6 })
    const content = await call(`/api/files/${file.id}/content`)
    expect(new Uint8Array(await content.arrayBuffer())).toEqual(binary)
    expect(content.headers.get('content-disposition')).toMatch(/^attachment/)
    expect((await call(`/api/files/${file.id}`, { method: 'DELETE' })).status).toBe(204)
    expect((await call(`/api/files/${file.id}/content`)).status).toBe(404)
    const { objects } = await env.FILES.list({ prefix: 'files/' })
    expect(objects.filter(({ key }) => key.endsWith(file.id))).toEqual([])
  },
)
