import { existsSync } from 'node:fs'
import { serve, type ServerType } from '@hono/node-server'
import { chromium, type Browser, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createNodeAssets } from '../../src/runtime/node/assets.ts'
import { createTestApp } from '../support/app.ts'

const executablePath = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium'
const isInstalled = existsSync(executablePath)
if (!isInstalled) console.warn(`No Chromium at ${executablePath}: the pages are not looked at. Set CHROMIUM_PATH.`)

describe.skipIf(!isInstalled)('in Chromium', async () => {
  const { app, key } = await createTestApp({ runtime: { assets: createNodeAssets() } })
  let server: ServerType
  let browser: Browser
  let origin: string

  beforeAll(async () => {
    origin = await new Promise((resolve) => {
      server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) =>
        resolve(`http://127.0.0.1:${port}`),
      )
    })
    browser = await chromium.launch({
      executablePath,
      args: [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    })
  })
  afterAll(async () => {
    await browser?.close()
    await new Promise((resolve) => server.close(resolve))
  })

  /** Opens a page and notes what it asks for and complains about. */
  async function open(path: string) {
    const page = await browser.newPage()
    const complaints: string[] = []
    const outside: string[] = []
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(String(error)))
    page.on('requestfailed', (request) => complaints.push(`${request.url()} ${request.failure()?.errorText}`))
    page.on('request', (request) => {
      if (!request.url().startsWith(origin) && !request.url().startsWith('data:')) outside.push(request.url())
    })
    page.on('response', (response) => {
      if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`)
    })
    await page.goto(origin + path)
    return { page, complaints, outside }
  }

  test('/docs draws every tag, and its operations when it is opened, asks for nothing outside and complains about nothing', async () => {
    const { page, complaints, outside } = await open('/docs')
    await page.locator('#operations-tag-Recipes').click()
    const { tags } = (await (await app.request('/openapi.json')).json()) as { tags: unknown[] }
    expect(await page.locator('.opblock-tag').count()).toBe(tags.length)
    await page.locator('.opblock').first().waitFor()
    expect(await page.locator('.opblock').count()).toBeGreaterThan(10)
    await page.locator('.opblock-summary-control').first().click()
    await page.locator('.opblock-body').first().waitFor()
    expect({ complaints, outside }).toEqual({ complaints: [], outside: [] })
    await page.close()
  })

  test('/docs can try an operation out with a key', async () => {
    const { page, complaints } = await open('/docs')
    await authorize(page, key)
    await page.locator('#operations-tag-Agents').click()
    const operation = page.locator('#operations-Agents-listAgents')
    await operation.locator('.opblock-summary-control').click()
    await operation.locator('button.execute').click()
    await operation.locator('.live-responses-table .response-col_status', { hasText: '200' }).first().waitFor()
    expect(complaints).toEqual([])
    await page.close()
  })

  test('/redoc reads without a script, asks for nothing outside and complains about nothing', async () => {
    const { page, complaints, outside } = await open('/redoc')
    expect(await page.locator('article').count()).toBeGreaterThan(40)
    expect(await page.locator('script').count()).toBe(0)
    const display = await page.evaluate<string>('getComputedStyle(document.body).display')
    expect(display, 'the style sheet is applied').toBe('grid')
    await page
      .locator('nav a', { hasText: /recipe/i })
      .first()
      .click()
    expect({ complaints, outside }).toEqual({ complaints: [], outside: [] })
    await page.close()
  })
})

async function authorize(page: Page, key: string) {
  await page.locator('button.authorize').first().click()
  await page.locator('.auth-container input').first().fill(key)
  await page.locator('.auth-btn-wrapper button.authorize').first().click()
  await page.locator('.btn-done').first().click()
}
