// Bare Hono as a process, for bench/start.ts. Plain JavaScript: a compiler's time would be in its favour.
import { enableCompileCache } from 'node:module'
enableCompileCache?.()
const { Hono } = await import('hono')
const app = new Hono()
app.get('/health/ready', (c) => c.json({ ready: true }))
const port = Number(process.env.PORT)
if (process.versions.bun) {
  Bun.serve({ fetch: app.fetch, port, hostname: '127.0.0.1' })
} else {
  const { serve } = await import('@hono/node-server')
  serve({ fetch: app.fetch, port, hostname: '127.0.0.1' })
}
process.on('SIGTERM', () => process.exit(0))
