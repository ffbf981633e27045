import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { serve } from '@hono/node-server'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import { expect, onTestFinished, test } from 'vitest'
import { createNodeAssets } from '../../src/runtime/node/assets.ts'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { createTestApp } from '../support/app.ts'

const executablePath = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium'

test.skipIf(!existsSync(executablePath))('the typed client starts a run and follows it from a page', async () => {
  const { app, key, runtime } = await createTestApp({ runtime: { assets: createNodeAssets() } })
  const origin = await new Promise<string>((resolve) => {
    const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) =>
      resolve(`http://127.0.0.1:${port}`),
    )
    onTestFinished(() => void server.close())
  })
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('../../clients/typescript/src/index.ts', import.meta.url))],
    bundle: true,
    write: false,
    platform: 'browser',
    format: 'iife',
    globalName: 'client',
  })
  const browser = await chromium.launch({ executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu'] })
  onTestFinished(() => browser.close())
  const page = await browser.newPage()
  await page.goto(`${origin}/docs`)

  // In the page, where nothing but the bundle and the platform is; the engine works while it follows.
  const script = `(async () => {
    ${outputFiles[0]!.text}
    const api = client.createAutomatos({ baseUrl: location.origin, apiKey: ${JSON.stringify(key)} })
    const steps = [{ id: 'v', kind: 'transform', value: 1 }]
    await api.createRecipe({ body: { name: 'In a page', slug: 'in-a-page', steps } })
    const { data: run } = await api.executeRecipe({ path: { recipe: 'in-a-page' }, body: {} })
    const types = []
    for await (const event of client.followExecution(api, run.id)) {
      types.push(event.type)
      if (event.type === 'execution.queued') await window.work()
    }
    return types
  })()`
  await page.exposeFunction('work', async () => {
    await runsService.tick(runtime)
    await engineOf(runtime).idle()
  })
  expect(await page.evaluate(script)).toEqual([
    'execution.queued',
    'execution.started',
    'step.started',
    'step.succeeded',
    'execution.succeeded',
  ])
})
