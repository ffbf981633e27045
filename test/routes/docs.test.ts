import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { createNodeAssets } from '../../src/runtime/node/assets.ts'
import { createTestApp } from '../support/app.ts'

const { app, database } = await createTestApp({ runtime: { assets: createNodeAssets() } })
const paths = [
  '/openapi.json',
  '/docs',
  '/redoc',
  '/docs/swagger-ui-bundle.js',
  '/docs/swagger-ui.css',
  '/docs/start.js',
  '/redoc/reference.css',
]

test.each(paths)('%s is served in development and hidden in production', async (path) => {
  expect((await app.request(path)).status).toBe(200)
  const production = await createTestApp({ database, config: { environment: 'production' } })
  expect((await production.app.request(path)).status).toBe(404)
})

test.each(['/docs', '/redoc'])('%s loads nothing from elsewhere and runs nothing inline', async (path) => {
  const response = await app.request(path)
  expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
  const policy = response.headers.get('content-security-policy')!
  expect(policy).toContain("default-src 'none'")
  expect(policy).toContain("frame-ancestors 'none'")
  expect(policy).not.toContain('unsafe')
  const html = await response.text()
  for (const [, address] of html.matchAll(/(?:src|href)="([^"]+)"/g)) expect(address).toMatch(/^(\/[a-z]|#|data:,)/)
  expect(html).not.toMatch(/<script(?![^>]*\bsrc=)|\son[a-z]+=/)
})

test('the committed document is the one that is served', async () => {
  const served = JSON.stringify(await (await app.request('/openapi.json')).json())
  const committed = JSON.stringify(JSON.parse(readFileSync('openapi.json', 'utf8')))
  expect(served === committed, 'openapi.json is out of date. Run: npm run openapi').toBe(true)
})

test('assets are a closed list', async () => {
  for (const path of ['/docs/package.json', '/docs/..%2fpackage.json', '/docs/__proto__', '/docs/constructor']) {
    expect((await app.request(path)).status, path).toBe(404)
  }
})

test('without shipped files the page itself still answers and its script is a 404', async () => {
  const bare = await createTestApp({ database })
  expect((await bare.app.request('/docs')).status).toBe(200)
  expect((await bare.app.request('/docs/swagger-ui-bundle.js')).status).toBe(404)
})

test('the reference page shows every operation and escapes what it shows', async () => {
  const html = await (await app.request('/redoc')).text()
  for (const id of ['createAgent', 'executeRecipe', 'createSchedule']) expect(html).toContain(`id="${id}"`)
  expect(html).not.toContain('<code><code>')
})
