import { PGlite } from '@electric-sql/pglite'
import { serve } from '@hono/node-server'
import { z } from '@hono/zod-openapi'
import { Hono } from 'hono'
import { Kysely, PGliteDialect } from 'kysely'
import { assemble } from '../src/app.ts'
import { parseConfig } from '../src/config.ts'
import type { Log, Runtime } from '../src/context.ts'
import type { Database } from '../src/db/database.ts'
import { jsonb } from '../src/db/json.ts'
import { migrate } from '../src/db/migrate.ts'
import { uuidv7 } from '../src/lib/ids.ts'
import { operation, reply, type RouteGroup } from '../src/lib/operation.ts'
import { systemClock } from '../src/runtime/clock.ts'
import { createMemoryLimiter } from '../src/runtime/memory-limiter.ts'
import { formatKey, hashKey, keyPrefix } from '../src/services/identity/key-format.ts'

// One of the two servers that bench/http.ts compares; it prints its port and a key.
const key = formatKey('server', crypto.getRandomValues(new Uint8Array(32)))
function bare() {
  const app = new Hono()
  app.get('/api/things/:thing', (c) => c.json({ id: c.req.param('thing') }))
  app.post('/api/things', async (c) => c.json(await c.req.json(), 201))
  return app.fetch
}

async function product() {
  const config = parseConfig({ RATE_LIMIT_AUTHENTICATED: '999999999/minute' })
  const db = new Kysely<Database>({ dialect: new PGliteDialect({ pglite: await PGlite.create() }) })
  await migrate(db)
  await insertKey(db)
  const log: Log = { debug() {}, info() {}, warn() {}, error: console.error, with: () => log }
  const runtime = { platform: 'node', config, db, clock: systemClock, log, limiter: createMemoryLimiter(systemClock) }
  // The routes below touch no other port.
  const opened = { runtime: { ...runtime, probes: {}, defer: () => {} } as unknown as Runtime }
  return assemble(config, () => opened, [things]).fetch
}

async function insertKey(db: Kysely<Database>) {
  const workspace = uuidv7()
  await db.insertInto('workspaces').values({ id: workspace, slug: 'bench', name: 'Bench' }).execute()
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

const Thing = z.strictObject({ name: z.string().min(1), size: z.int(), tags: z.array(z.string()).max(10) })
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

const fetch = process.argv[2] === 'product' ? await product() : bare()
serve({ fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => process.stdout.write(JSON.stringify({ port, key })))
