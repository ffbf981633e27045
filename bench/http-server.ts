import { createServer } from 'node:http'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { z } from '@hono/zod-openapi'
import { Hono } from 'hono'
import type { Kysely } from 'kysely'
import { assemble } from '../src/app.ts'
import { parseConfig } from '../src/config.ts'
import type { Database } from '../src/db/database.ts'
import { jsonb } from '../src/db/json.ts'
import { migrate } from '../src/db/migrate.ts'
import { uuidv7 } from '../src/lib/ids.ts'
import { operation, reply, type RouteGroup } from '../src/lib/operation.ts'
import { answerClientError } from '../src/middleware/client-error.ts'
import { routeGroups } from '../src/routes/index.ts'
import { listen } from '../src/runtime/node/http-server.ts'
import { openNodeRuntime } from '../src/runtime/node/index.ts'
import { formatKey, hashKey, keyPrefix } from '../src/services/identity/key-format.ts'
import { ApiMetrics } from '../src/services/metrics/api-metrics.ts'
import { createLimiterState } from '../src/services/metrics/limiter-state.ts'

// One of the servers that bench/http.ts compares, on Node or on Bun; it prints its port and a key.
// Usage: node bench/http-server.ts bare | product <database url>

const key = formatKey('server', crypto.getRandomValues(new Uint8Array(32)))

const Thing = z.strictObject({ name: z.string().min(1), size: z.int(), tags: z.array(z.string()).max(10) })
/** Handlers that do nothing, so that what is measured is what stands around them. */
const things: RouteGroup = {
  prefix: '/api/things',
  tag: 'Things',
  description: 'For the bench.',
  operations: [
    operation(
      {
        operationId: 'getThing',
        method: 'get',
        path: '/{thing}',
        summary: 'Get',
        access: 'agents:read',
        params: z.object({ thing: z.string() }),
        responses: {},
      },
      (_ctx, { params }) => reply(200, { id: params.thing }),
    ),
    operation(
      {
        operationId: 'makeThing',
        method: 'post',
        path: '/',
        summary: 'Make',
        access: 'agents:write',
        body: Thing,
        responses: {},
      },
      (_ctx, { body }) => reply(201, body),
    ),
  ],
}

interface BunGlobal {
  serve(options: { hostname: string; port: number; fetch: Hono['fetch'] }): { port: number }
}

function startBare(): Promise<number> {
  const app = new Hono()
  app.get('/api/things/:thing', (c) => c.json({ id: c.req.param('thing') }))
  app.post('/api/things', async (c) => c.json(await c.req.json(), 201))
  const { Bun } = globalThis as { Bun?: BunGlobal }
  if (Bun) return Promise.resolve(Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: app.fetch }).port)
  const handle = getRequestListener(app.fetch)
  const server = createServer((incoming, outgoing) => void handle(incoming, outgoing))
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port))
  })
}

/** Everything that `npm start` serves, its real routes included, and the two of the bench. */
async function startProduct(databaseUrl: string): Promise<number> {
  const config = parseConfig({
    DATABASE_URL: databaseUrl,
    DATA_DIR: mkdtempSync(join(tmpdir(), 'automatos-bench-')),
    PORT: '0',
    LOG_LEVEL: 'error',
    RATE_LIMIT_AUTHENTICATED: '999999999/minute',
  })
  const runtime = await openNodeRuntime(config)
  await migrate(runtime.db)
  await insertKey(runtime.db)
  const metrics = new ApiMetrics()
  const limiterState = createLimiterState()
  const groups = [...routeGroups(config, { metrics, limiterState }), things]
  const app = assemble(config, () => ({ runtime }), groups, metrics, limiterState)
  const { port } = await listen({
    platform: runtime.platform,
    host: '127.0.0.1',
    port: 0,
    fetch: app.fetch,
    answerMalformed: app.answerMalformed,
    answerClientError: (error, socket) => answerClientError(error, socket, config),
  })
  return port
}

async function insertKey(db: Kysely<Database>): Promise<void> {
  const workspace = uuidv7()
  await db
    .insertInto('workspaces')
    .values({ id: workspace, slug: `bench-${workspace}`, name: 'Bench' })
    .execute()
  await db
    .insertInto('api_keys')
    .values({
      id: uuidv7(),
      workspace_id: workspace,
      name: 'Bench',
      kind: 'server',
      prefix: keyPrefix(key),
      hash: await hashKey(key),
      scopes: jsonb(['agents:read', 'agents:write']),
    })
    .execute()
}

process.on('SIGINT', () => process.exit(0))
const [kind, databaseUrl = ''] = process.argv.slice(2)
const port = kind === 'product' ? await startProduct(databaseUrl) : await startBare()
process.stdout.write(JSON.stringify({ port, key }))
