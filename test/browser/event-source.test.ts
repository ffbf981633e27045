import { existsSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve, type ServerType } from '@hono/node-server'
import { chromium, type Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { createTestApp } from '../support/app.ts'

const executablePath = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium'
const isInstalled = existsSync(executablePath)
if (!isInstalled) console.warn(`No Chromium at ${executablePath}: no page follows a run. Set CHROMIUM_PATH.`)

/** Follows the address as any page would, until the browser itself gives the stream up. */
const follow = `async (url) => {
  const events = []
  const source = new EventSource(url)
  for (const type of ['execution.queued', 'execution.started', 'step.started', 'step.succeeded', 'execution.succeeded']) {
    source.addEventListener(type, (event) => events.push([event.lastEventId, event.type, JSON.parse(event.data).seq]))
  }
  await new Promise((resolve) => {
    source.addEventListener('error', () => { if (source.readyState === EventSource.CLOSED) resolve() })
  })
  return events
}`

describe.skipIf(!isInstalled)('a page of another origin, in Chromium', async () => {
  let site: Server
  let server: ServerType
  let browser: Browser
  // The page's own server comes first: its origin is what the API lets in.
  const siteOrigin = await new Promise<string>((resolve) => {
    site = createServer((_request, response) => {
      response.setHeader('content-type', 'text/html').end('<!doctype html><title>A page</title>')
    }).listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(site.address() as AddressInfo).port}`))
  })
  const api = await createTestApp({ config: { corsAllowOrigins: [siteOrigin] } })
  let origin: string

  beforeAll(async () => {
    origin = await new Promise((resolve) => {
      server = serve({ fetch: api.app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) =>
        resolve(`http://127.0.0.1:${port}`),
      )
    })
    browser = await chromium.launch({
      executablePath,
      args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
    })
  })
  afterAll(async () => {
    await browser?.close()
    await new Promise((resolve) => server.close(resolve))
    await new Promise((resolve) => site.close(resolve))
  })

  async function aRun(): Promise<string> {
    const slug = `r${crypto.randomUUID().slice(0, 8)}`
    const steps = [{ id: 'one', kind: 'transform', value: 'Hello' }]
    await api.post('/api/workflow-recipes', { name: 'Greeting', slug, steps, output: { $expr: 'steps.one.output' } })
    return ((await (await api.post(`/api/workflow-recipes/${slug}/execute`, {})).json()) as { id: string }).id
  }
  async function work() {
    await runsService.tick(api.runtime)
    await engineOf(api.runtime).idle()
  }
  async function sign(path: string): Promise<string> {
    const { url } = (await (await api.post(path)).json()) as { url: string }
    return url.replace(api.runtime.config.apiUrl, origin)
  }

  test('an EventSource with a ticket follows a run to its end, and then stops by itself', async () => {
    const page = await browser.newPage()
    await page.goto(siteOrigin)
    const id = await aRun()
    const url = await sign(`/api/executions/${id}/events/ticket`)
    const connected = page.waitForResponse((response) => response.url() === url)
    const following = page.evaluate<[string, string, number][]>(`(${follow})(${JSON.stringify(url)})`)
    expect((await connected).status()).toBe(200)
    await work()
    expect(await following).toEqual([
      ['1', 'execution.queued', 1],
      ['2', 'execution.started', 2],
      ['3', 'step.started', 3],
      ['4', 'step.succeeded', 4],
      ['5', 'execution.succeeded', 5],
    ])

    const later = await sign(`/api/executions/${id}/events/ticket?last_event_id=3`)
    const rest = await page.evaluate<[string, string, number][]>(`(${follow})(${JSON.stringify(later)})`)
    expect(rest.map(([seq]) => seq)).toEqual(['4', '5'])
    await page.close()
  })

  test('a bad ticket ends an EventSource at once', async () => {
    const page = await browser.newPage()
    await page.goto(siteOrigin)
    const url = `${await sign(`/api/executions/${await aRun()}/events/ticket`)}x`
    expect(await page.evaluate(`(${follow})(${JSON.stringify(url)})`)).toEqual([])
    await page.close()
  })

  test('a link downloads the output under its name', async () => {
    const page = await browser.newPage()
    await page.goto(siteOrigin)
    const id = await aRun()
    await work()
    const url = await sign(`/api/executions/${id}/output/link`)
    const downloading = page.waitForEvent('download')
    await page.evaluate(`location.href = ${JSON.stringify(url)}`)
    const download = await downloading
    expect(download.suggestedFilename()).toBe(`execution-${id}.txt`)
    expect(await page.evaluate(`fetch(${JSON.stringify(url)}).then((response) => response.text())`)).toBe('Hello')
    await page.close()
  })
})
